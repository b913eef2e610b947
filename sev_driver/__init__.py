"""Nova compute driver for guests with memory encrypted by AMD SEV."""
