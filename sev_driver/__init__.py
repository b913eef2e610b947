# SPDX-License-Identifier: Apache-2.0

"""Nova compute driver for guests with memory encrypted by AMD SEV."""
