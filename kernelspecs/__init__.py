"""What a kernelspec of rkernel is made from: a template and the logos."""
