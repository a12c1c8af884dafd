package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"tandem/boot/initramfs"
	"tandem/boot/store"
	"tandem/guest/agent"
	"tandem/guest/config"
	"tandem/internal/process"
)

const (
	// bootLimit is how long the lab may take from QEMU's start to the agent's first answer. It is for a host under
	// heavy load; a kernel that cannot go on ends the machine by itself.
	bootLimit = 3 * time.Minute
	// stopGrace is how long the processes in the lab may take to end.
	stopGrace = 3 * time.Second

	minMemory = 512 << 20
	maxMemory = 4 << 30
	maxCPUs   = 8

	// maxAppend is what users may add to the kernel's command line. Of more than COMMAND_LINE_SIZE - 1 = 2047 bytes in all
	// Linux takes the beginning, without a word.
	maxAppend = 1500
)

// Folders in the lab.
const (
	shareRoot = "/run/tandem/share" // the host's files, writable
	coverRoot = "/run/tandem/cover" // an empty folder to hide that with
)

// machine is the running lab.
type machine struct {
	kernel string // uname -r
	boot   time.Duration
	agent  *agent.Client

	qemu    *qemu
	console *console
	errors  *tail // what QEMU itself said

	pulse pulse
	ended chan struct{} // closed when the machine has ended, or cannot be used any more
	err   error         // why, valid then
}

// bootMachine makes the lab's machine and returns when its agent answers.
func bootMachine(ctx context.Context, s *supervisor) (*machine, error) {
	clocks := readClocks()
	program, err := findQEMU()
	if err != nil {
		return nil, err
	}
	h, err := s.options.hardware()
	if err != nil {
		return nil, err
	}
	kernel, err := findKernel(ctx, s.options.Kernel, s.step)
	if err != nil {
		return nil, err
	}
	if h.kernel, err = bootable(kernel, s.step); err != nil {
		return nil, err
	}
	initrd, err := makeInitrd(ctx, kernel, h.accel, s.step)
	if err != nil {
		return nil, err
	}
	defer initrd.Close()
	if h.tsc, err = clocks.kilohertz(ctx); err != nil {
		return nil, err
	}
	s.change(func(st *State) { st.Accel, st.CPUs, st.Memory, st.Kernel = h.accel, h.cpus, h.memory, kernel.Release })
	s.step("boot Linux %s (%s, cpus %d, %d MiB)", kernel.Release, h.accel, h.cpus, h.memory>>20)
	m := &machine{kernel: kernel.Release, errors: &tail{}, pulse: defaultPulse, ended: make(chan struct{})}
	if err := m.start(ctx, s, exec.Command(program, h.arguments()...), initrd); err != nil {
		return nil, err
	}
	return m, nil
}

// hardware fills in what the options leave open.
func (o Options) hardware() (hardware, error) {
	h := hardware{cpus: o.CPUs, memory: o.Memory, root: os.Getuid() == 0, words: o.Append}
	var err error
	if h.accel, err = o.Accel.choose(); err != nil {
		return h, err
	}
	if h.cpus == 0 {
		h.cpus = min(runtime.NumCPU(), maxCPUs)
		if h.accel == TCG {
			h.cpus = 1 // more would take turns on one thread (see accelArgument), and spin there for one another
		}
	}
	if h.cpus < 1 || h.cpus > 255 {
		return h, fmt.Errorf("%d CPUs, possible are 1 to 255", h.cpus)
	}
	if h.memory == 0 {
		available, err := availableMemory("/proc/meminfo")
		if err != nil {
			return h, err
		}
		h.memory = min(max(available/2, minMemory), maxMemory)
	}
	if h.memory < minMemory {
		return h, fmt.Errorf("%d MiB of memory, a lab needs %d", h.memory>>20, minMemory>>20)
	}
	h.memory &^= 1<<20 - 1
	if len(o.Append) > maxAppend {
		return h, fmt.Errorf("%d bytes to add to the kernel's command line, possible are %d", len(o.Append), maxAppend)
	}
	return h, nil
}

// start starts QEMU and waits for the agent. What it started has ended if it fails.
func (m *machine) start(ctx context.Context, s *supervisor, cmd *exec.Cmd, initrd *os.File) (err error) {
	if m.console, err = newConsole(s.dir.file(consoleFile)); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			m.console.Close()
		}
	}()
	here, there, err := socketPair()
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = m.console, m.errors
	cmd.ExtraFiles = []*os.File{agentFD - 3: there, initrdFD - 3: initrd}
	began := time.Now()
	m.qemu, err = startQEMU(cmd)
	there.Close()
	if err != nil {
		here.Close()
		return err
	}
	defer func() {
		if err != nil {
			m.qemu.kill()
		}
	}()
	id, err := process.Of(m.qemu.process.Pid)
	if errors.Is(err, process.ErrGone) {
		<-m.qemu.ended
		here.Close()
		return m.qemuError()
	}
	if err == nil {
		err = s.writeRecord(id)
	}
	if err != nil {
		here.Close()
		return err
	}
	s.change(func(st *State) { st.QEMU = id.PID })
	if err := m.connect(ctx, here); err != nil {
		return err
	}
	m.boot = time.Since(began)
	if err := m.prepare(ctx); err != nil {
		m.agent.Close()
		return err
	}
	go m.watch()
	return nil
}

// connect waits for the agent's answer, or QEMU's end.
func (m *machine) connect(ctx context.Context, here *os.File) error {
	boot, cancel := context.WithTimeoutCause(ctx, bootLimit, fmt.Errorf("the lab did not boot in %v", bootLimit))
	defer cancel()
	end := make(chan struct{})
	defer close(end)
	go func() {
		select {
		case <-m.qemu.ended:
			cancel()
		case <-end:
		}
	}()
	client, err := agent.NewClient(boot, here)
	if err == nil {
		m.agent = client
		return nil
	}
	select {
	case <-m.qemu.ended:
		return m.qemuError()
	default:
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("%w\nThe lab's console ends with:%v", err, &m.console.tail)
}

// prepare does what the guest's init leaves to us. The kernel loads modules by running /sbin/modprobe; the lab has the
// host's root, and busybox stands in where that has no kmod.
func (m *machine) prepare(ctx context.Context) error {
	if err := setClock(ctx, m.agent); err != nil {
		return err
	}
	const modprobe = "/sbin/modprobe"
	if _, err := os.Stat(modprobe); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	busybox, err := exec.LookPath("busybox")
	if errors.Is(err, exec.ErrNotFound) {
		return nil // what needs a module that is not loaded yet will say so
	}
	if err != nil {
		return err
	}
	if out, err := m.agent.Command(ctx, busybox, "ln", "-s", busybox, modprobe).CombinedOutput(); err != nil {
		return fmt.Errorf("make %s: %w\n%s", modprobe, err, out)
	}
	return nil
}

// watch notices the machine's end.
func (m *machine) watch() {
	defer close(m.ended)
	ctx, cancel := context.WithCancel(context.Background())
	silent := make(chan error, 1)
	go func() {
		silent <- m.pulse.feel(ctx, func(ctx context.Context) error { _, err := m.agent.Info(ctx); return err })
	}()
	defer cancel()
	select {
	case <-m.qemu.ended:
		m.err = m.qemuError()
	case err := <-silent:
		m.err = fmt.Errorf("%w\nThe lab's console ends with:%v", err, &m.console.tail)
	case <-m.agent.Done():
		// QEMU's end shows here too, and may show here first.
		select {
		case <-m.qemu.ended:
			m.err = m.qemuError()
		case <-time.After(stopGrace):
			m.err = fmt.Errorf("its agent is gone\nThe lab's console ends with:%v", &m.console.tail)
		}
	}
}

// qemuError says how QEMU ended.
func (m *machine) qemuError() error {
	how := "exit status 0"
	if m.qemu.err != nil {
		how = m.qemu.err.Error()
	}
	return fmt.Errorf("QEMU ended: %s; it said:%v\nThe lab's console ends with:%v", how, m.errors, &m.console.tail)
}

// stop ends the machine.
func (m *machine) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	if m.agent.PowerOff(ctx) == nil {
		select {
		case <-m.qemu.ended:
		case <-ctx.Done():
		}
	}
	m.qemu.kill()
	m.agent.Close()
	m.console.Close()
}

// makeInitrd makes what the lab starts on, as an anonymous file: the base archive and the lab's configuration.
func makeInitrd(ctx context.Context, k store.Kernel, accel Accel, step func(string, ...any)) (*os.File, error) {
	step("make the initramfs")
	virt := initramfs.Set{Name: "lab-kvm", Required: append([]string{"vhost_net", "vhost_vsock", "tun"}, kvmModule(accel))}
	base := initramfs.Base{
		Init:       "/proc/self/exe",
		Busybox:    initramfs.NoBusybox,
		ModulesDir: k.Modules,
		Sets:       []initramfs.Set{{Name: initramfs.LabBoot.Name, Required: initramfs.LabBoot.Required}, virt},
	}
	archive, err := base.Build(ctx)
	if err != nil {
		return nil, err
	}
	modules, err := archive.Load(append(append([]string(nil), initramfs.LabBoot.Required...), virt.Required...)...)
	if err != nil {
		return nil, err
	}
	text, err := guestConfig(k, modules).Encode()
	if err != nil {
		return nil, err
	}
	overlay, err := initramfs.Overlay(text)
	if err != nil {
		return nil, err
	}
	return concatenate(archive, overlay)
}

// kvmModule is the KVM for the processor that the lab sees. QEMU's own emulates AMD's SVM.
func kvmModule(accel Accel) string {
	if accel == KVM {
		if _, err := os.Stat("/sys/module/kvm_intel"); err == nil {
			return "kvm_intel"
		}
	}
	return "kvm_amd"
}

// guestConfig is what the lab's init is told.
func guestConfig(k store.Kernel, modules []string) *config.Config {
	// The kernel's modules lie in the store, which the lab sees as it sees all files of the host.
	tree := filepath.Join("/lib/modules", k.Release)
	return &config.Config{
		Hostname: "lab",
		Env:      []string{Variable + "=1"},
		Modules:  config.ModulesAt(modules...),
		Root:     &config.Root{Tag: rootTag, Options: rootOptions},
		Mounts: []config.Mount{
			{Source: shareTag, Target: shareRoot, Type: "9p", Options: shareOptions},
			{Source: "cover", Target: coverRoot, Type: "tmpfs", Options: "ro,size=4k,mode=0555"},
			{Source: k.Modules, Target: tree, Type: "bind", Options: "ro"},
		},
		Agent: &config.Agent{Port: agentPort, OnDisconnect: config.PowerOff},
	}
}

// concatenate puts the archives behind one another.
func concatenate(base *initramfs.Archive, overlay []byte) (*os.File, error) {
	from, err := os.Open(base.Path)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	fd, err := unix.MemfdCreate("initrd", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "initrd")
	if _, err = f.ReadFrom(from); err == nil {
		_, err = f.Write(overlay)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("copy %s: %w", base.Path, err)
	}
	return f, nil
}
