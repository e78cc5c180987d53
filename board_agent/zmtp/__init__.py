"""ZMTP, the wire protocol of ZeroMQ, for kernels on boards that have no libzmq.

The stand-in for zmq runs it in the kernel process. The PC imports `wire` alone.
"""
