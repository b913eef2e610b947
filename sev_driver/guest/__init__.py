# SPDX-License-Identifier: Apache-2.0

"""What a guest asks for, and what it must have. Pure.

::

    id_block         the launch digest that the owner signed, and the signatures
    input_keys       the keys of launch inputs, and those that were meant as such
    launch_inputs    what the owner gives the secure processor: host data, ID block
    launched         what a host says of a guest's launch, in the server's metadata
    model_selection  the model that flavor and image select
    near_misses      misspelt keys and values that were meant to ask for encryption
    operations       the operations that encrypted guests do not support
    policy           guest policies, as named bits
    request          parses a flavor and an image into a GuestRequest
    requirements     the requirements of an encrypted guest
    spelling         the known word that a misspelt one was meant to be
"""
