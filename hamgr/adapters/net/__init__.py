"""The VIPs on the wire and in the kernel: everything that the port Addresses needs."""
