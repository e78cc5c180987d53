"""Devices that this PC's adb server reaches, over a USB cable or over the network."""
