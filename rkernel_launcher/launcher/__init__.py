"""The launcher: on the PC, one process for each kernel, started by a kernelspec's argv.

The command line imports it to attach to kernels and to find their pictures.
"""
