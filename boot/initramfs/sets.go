package initramfs

// A Set is a named list of modules. Names are modules or aliases; built-in ones count as there.
type Set struct {
	Name     string
	Required []string
	Optional []string
}

// The sets. Guest* are for tandem's own guests, Lab* for the QEMU machine of package lab.
var (
	// GuestBoot is what a guest needs before its devices can be seen: the transports, console and entropy.
	GuestBoot = Set{}
	// GuestDevices are the drivers of the devices that tandem offers.
	GuestDevices = Set{}
	// GuestNet is what containers in the guest need of the network.
	GuestNet = Set{}
	// LabBoot is what the lab needs to mount its root: virtio-pci, 9p, overlay, virtio-serial.
	LabBoot = Set{}
	// LabVirt is KVM, vhost, tun.
	LabVirt = Set{}
	// LabNet is the network of containers and VMs: bridge, veth, nf_tables and its friends.
	LabNet = Set{}
)
