package testenv

import "golang.org/x/sys/unix"

// What tests ask for. Each name is spelled as the field spells it.
var (
	Root       = requirement("root", checkRoot)
	RaiseLimit = requirement("cap_sys_resource", checkCapability(unix.CAP_SYS_RESOURCE))
	NetNS      = requirement("netns", checkNetNS)
	MountNS    = requirement("mountns", checkMountNS)
	UserNS     = requirement("userns", checkUserNS)
	IDMap      = requirement("idmap", checkIDMap)
	Cgroup1    = requirement("cgroup1", checkCgroup1)
	Cgroup2    = requirement("cgroup2", checkCgroup2)
	Overlay    = requirement("overlay", checkFilesystem("overlay"))
	UserXattr  = requirement("user-xattr", checkUserXattr)
	NineP      = requirement("9p", checkFilesystem("9p"))
	TUN        = requirement("tun", checkOpen("/dev/net/tun"))
	HugePages  = requirement("hugepages", checkHugePages)
	LoopDevice = requirement("loop", checkLoop)

	KVM        = requirement("kvm", checkKVM)
	KVMLinux   = requirement("kvm-linux", checkKVMLinux)
	VHostNet   = requirement("vhost-net", checkOpen("/dev/vhost-net"))
	VHostVsock = requirement("vhost-vsock", checkOpen("/dev/vhost-vsock"))

	BTF     = requirement("btf", checkBTF)
	Fentry  = requirement("fentry", checkFentry)
	Kprobes = requirement("kprobes", checkKprobes)

	AppArmor = requirement("apparmor", checkAppArmor)

	IA32 = requirement("ia32", checkFile("/proc/sys/abi/vsyscall32"))

	NewUIDMap         = requirement("newuidmap", checkProgram("newuidmap"))
	AppArmorParser    = requirement("apparmor_parser", checkProgram("apparmor_parser"))
	Checkpolicy       = requirement("checkpolicy", checkProgram("checkpolicy"))
	GCC               = requirement("gcc", checkProgram("gcc"))
	LibSeccomp        = requirement("libseccomp", checkFile("/usr/include/seccomp.h"))
	LinuxUAPI         = requirement("linux-uapi", checkFile("/usr/include/x86_64-linux-gnu/asm/unistd_x32.h"))
	IASL              = requirement("iasl", checkProgram("iasl"))
	CPIO              = requirement("cpio", checkProgram("cpio"))
	NFT               = requirement("nft", checkProgram("nft"))
	Strace            = requirement("strace", checkProgram("strace"))
	APT               = requirement("apt", checkProgram("apt-get"))
	Curl              = requirement("curl", checkProgram("curl"))
	IPerf3            = requirement("iperf3", checkProgram("iperf3"))
	QEMU              = requirement("qemu", checkProgram("qemu-system-x86_64"))
	QEMUStorageDaemon = requirement("qemu-storage-daemon", checkProgram("qemu-storage-daemon"))
	DPDK              = requirement("dpdk", checkProgram("dpdk-testpmd"))
	Fio               = requirement("fio", checkProgram("fio"))
	Virtiofsd         = requirement("virtiofsd", checkVirtiofsd)
	Busybox           = requirement("busybox", checkBusybox)
	GoToolchain       = requirement("go", checkProgram("go"))
	Runc              = requirement("runc", checkProgram("runc"))
	Crun              = requirement("crun", checkProgram("crun"))
	Podman            = requirement("podman", checkProgram("podman"))
	Containerd        = requirement("containerd", checkProgram("containerd"))

	GuestKernel = requirement("guest-kernel", checkKernel("linux-image-cloud-amd64"))
	LabKernel   = requirement("lab-kernel", checkKernel("linux-image-amd64"))
	Lab         = requirement("lab", checkLab)
	NotLab      = requirement("not-lab", checkNotLab)
)
