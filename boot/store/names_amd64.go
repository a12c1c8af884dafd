package store

// The packages that kernels are pulled from: the small one that guests boot, and the full one for the lab, which has
// 9p, KVM and vhost.
const (
	GuestPackage = "linux-image-cloud-amd64"
	LabPackage   = "linux-image-amd64"
)
