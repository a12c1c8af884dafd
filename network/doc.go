// Package network connects boxes: containers and VMs plug into it alike.
package network
