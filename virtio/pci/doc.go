// Package pci is the virtio transport over PCI.
package pci
