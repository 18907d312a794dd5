"""The sources of images, one file each. `noctule.data.registry` imports all of them."""
