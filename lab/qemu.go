package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Names that QEMU's command line and the guest's configuration share.
const (
	agentPort = "tandem.agent" // a virtio-serial port
	rootTag   = "root"         // 9p exports
	shareTag  = "share"
)

// Descriptors that QEMU inherits, after the standard ones.
const (
	agentFD  = 3
	initrdFD = 4
)

// hardware is what QEMU is told about the machine.
type hardware struct {
	accel  Accel
	cpus   int
	memory uint64
	kernel string
	words  string // for the kernel's command line, behind the lab's own
	// tsc is the frequency of the processor's time stamp counter, in kHz.
	tsc uint64
	// root says that QEMU runs as root, and can give the host's files their true owners.
	root bool
}

// arguments are QEMU's. The machine is microvm: it has what a lab needs, virtio on PCI, ACPI, a clock and a serial
// port, and as it has nothing else, the kernel boots in three quarters of the time that it takes on q35.
func (h hardware) arguments() []string {
	security := "passthrough"
	if !h.root {
		security = "none"
	}
	return []string{
		"-name", "tandem-lab",
		"-no-user-config", "-nodefaults", "-display", "none", "-no-reboot", "-nic", "none",
		"-machine", "microvm,acpi=on,pcie=on,rtc=on,isa-serial=on,pit=on,pic=on",
		"-accel", h.accelArgument(), "-cpu", h.cpuArgument(),
		"-smp", fmt.Sprint(h.cpus), "-m", fmt.Sprintf("%dM", h.memory>>20),
		"-kernel", h.kernel, "-initrd", fmt.Sprintf("/proc/self/fd/%d", initrdFD), "-append", h.commandLine(),
		"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
		"-chardev", fmt.Sprintf("socket,id=agent,fd=%d", agentFD),
		"-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,name=" + agentPort,
		"-fsdev", "local,id=root,path=/,readonly=on,multidevs=remap,security_model=" + security,
		"-device", "virtio-9p-pci,fsdev=root,mount_tag=" + rootTag,
		"-fsdev", "local,id=share,path=/,multidevs=remap,security_model=" + security,
		"-device", "virtio-9p-pci,fsdev=share,mount_tag=" + shareTag,
	}
}

// accelArgument has TCG run all CPUs on one thread. With a thread for each, QEMU's SVM is not to be trusted: of ten
// boots of a Linux with four vCPUs in a lab of two CPUs, one or two ended in a triple fault or stood still, and so, at
// times, did the lab (seen with QEMU 7.2 and 10.0; none did on one thread).
func (h hardware) accelArgument() string {
	if h.accel == TCG {
		return "tcg,thread=single"
	}
	return "kvm"
}

func (h hardware) cpuArgument() string {
	if h.accel == TCG {
		return "max"
	}
	return "host"
}

// commandLine is the kernel's.
func (h hardware) commandLine() string {
	words := []string{
		"console=ttyS0", "quiet", "panic=-1", // a panic is a reboot at once, and with -no-reboot the machine's end
		"8250.nr_uarts=1", "cryptomgr.notests",
		"mitigations=off", // the lab protects nobody from anybody
		"hugepages=16",    // of 2 MiB: for guests whose memory is made of them
	}
	if h.accel == TCG {
		// The kernel would find these things out by racing emulated clocks against each other: that its counter has this
		// frequency, that it is to be trusted more than they are, and that the timer's interrupt arrives.
		words = append(words, fmt.Sprintf("tsc_early_khz=%d", h.tsc), "tsc=reliable", "no_timer_check")
	}
	if h.words != "" {
		words = append(words, h.words)
	}
	return strings.Join(words, " ")
}

// findQEMU finds the program.
func findQEMU() (string, error) {
	path, err := exec.LookPath("qemu-system-x86_64")
	if errors.Is(err, exec.ErrNotFound) {
		return "", ErrNoQEMU
	}
	return path, err
}

// qemu is a running QEMU.
type qemu struct {
	process *os.Process
	ended   chan struct{} // closed when it has
	err     error         // why, valid then
}

// startQEMU starts cmd, so that it is killed when this process dies.
func startQEMU(cmd *exec.Cmd) (*qemu, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:   true,
		Pdeathsig: unix.SIGKILL, // prctl(2), PR_SET_PDEATHSIG
	}
	q := &qemu{ended: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// The signal comes when the thread ends that forked, not the process: this one stays until QEMU has gone.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err == nil {
			q.process = cmd.Process
		}
		started <- err
		if err != nil {
			return
		}
		q.err = cmd.Wait()
		close(q.ended)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return q, nil
}

// kill ends QEMU and waits until it has. There is nothing in it that wants saving: what was written to shares was
// written through.
func (q *qemu) kill() {
	_ = q.process.Kill() // fails if it has ended
	<-q.ended
}

// socketPair makes a connection: one end for this process, one to be inherited.
func socketPair() (here, there *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil { // so that the runtime's poller takes it
		unix.Close(fds[0])
		unix.Close(fds[1])
		return nil, nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fds[0]), "agent"), os.NewFile(uintptr(fds[1]), "agent of QEMU"), nil
}
