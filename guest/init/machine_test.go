package guestinit_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem/boot/initramfs"
	"tandem/boot/store"
	"tandem/guest/agent"
	"tandem/guest/config"
	"tandem/internal/testenv"
)

// bootTimeout bounds a boot of Linux in an emulated machine, on a host that does other things.
const bootTimeout = 3 * time.Minute

// machine is a QEMU machine with the distribution's kernel and this package as its init.
type machine struct {
	t       *testing.T
	dir     string
	command *exec.Cmd
	console console
	input   *os.File
	lines   sync.WaitGroup // what QEMU has written is on its way to the console
	ended   chan struct{}  // QEMU has
}

// spec is what machines differ in.
type spec struct {
	config     config.Config
	configText []byte // instead of config, if not nil
	files      []initramfs.File
	args       []string // of QEMU
	slow       bool     // the console sends a few kilobytes a second
}

// archive is the base archive: tandem itself is init.
func archive(t *testing.T, kernel store.Kernel) *initramfs.Archive {
	t.Helper()
	a, err := initramfs.Base{
		Init:       testenv.Tandem(t),
		ModulesDir: kernel.Modules,
		Sets:       []initramfs.Set{initramfs.LabBoot},
	}.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func labKernel(t *testing.T) store.Kernel {
	t.Helper()
	s, err := store.Open("")
	if err != nil {
		t.Fatal(err)
	}
	kernel, err := s.Get("linux-image-amd64")
	if err != nil {
		t.Fatal(err)
	}
	return kernel
}

// start boots a machine. It is killed at the test's end if it still runs.
func start(t *testing.T, s spec) *machine {
	t.Helper()
	testenv.Need(t, testenv.NotLab, testenv.QEMU, testenv.LabKernel, testenv.Busybox, testenv.GoToolchain)
	m := &machine{t: t, dir: t.TempDir(), ended: make(chan struct{})}
	kernel := labKernel(t)
	initrd := m.initrd(archive(t, kernel), s)
	stdin, input, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	m.input = input
	m.command = exec.Command("qemu-system-x86_64", append([]string{
		"-M", "q35", "-accel", "tcg", "-cpu", "max", "-m", "512", "-nodefaults", "-no-user-config", "-display", "none",
		"-no-reboot", // a reboot ends QEMU, as power-off does; the console tells them apart
		"-kernel", kernel.Image, "-initrd", initrd, "-append", "console=ttyS0 quiet panic=-1",
		"-serial", "stdio",
	}, s.args...)...)
	m.command.Stdin, m.command.Stdout, m.command.Stderr = stdin, &m.console, &m.console
	var line *os.File
	if s.slow {
		line = m.slowLine()
		m.command.Stdout = line
	}
	err = m.command.Start()
	line.Close()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		m.command.Wait()
		m.lines.Wait()
		close(m.ended)
	}()
	t.Cleanup(func() {
		m.command.Process.Kill()
		<-m.ended
		m.input.Close()
		if t.Failed() {
			t.Logf("console:\n%s", m.console.String())
		}
	})
	return m
}

// slowLine is a file whose reader, the console, takes 512 bytes at a time, 40 times a second.
func (m *machine) slowLine() *os.File {
	m.t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		m.t.Fatal(err)
	}
	// The least that there is: QEMU's port has to wait, and the guest's for QEMU's.
	if _, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, os.Getpagesize()); err != nil {
		m.t.Fatal(err)
	}
	m.lines.Go(func() {
		defer r.Close()
		pace := time.NewTicker(time.Second / 40)
		defer pace.Stop()
		for range pace.C {
			if _, err := io.CopyN(&m.console, r, 512); err != nil {
				return
			}
		}
	})
	return w
}

// initrd writes the machine's archives.
func (m *machine) initrd(base *initramfs.Archive, s spec) (path string) {
	m.t.Helper()
	modules, err := base.Load(initramfs.LabBoot.Names()...)
	if err != nil {
		m.t.Fatal(err)
	}
	text := s.configText
	if text == nil {
		c := s.config
		c.Modules = append(config.ModulesAt(modules...), c.Modules...)
		if text, err = c.Encode(); err != nil {
			m.t.Fatal(err)
		}
	}
	overlay, err := initramfs.Overlay(text, s.files...)
	if err != nil {
		m.t.Fatal(err)
	}
	archive, err := os.ReadFile(base.Path)
	if err != nil {
		m.t.Fatal(err)
	}
	path = filepath.Join(m.dir, "initrd")
	if err := os.WriteFile(path, append(archive, overlay...), 0o600); err != nil {
		m.t.Fatal(err)
	}
	return path
}

// virtioPort is QEMU's arguments for a virtio-serial port by that name, and its socket.
func virtioPort(t *testing.T, name string) (socket string, args []string) {
	socket = filepath.Join(t.TempDir(), "port")
	return socket, []string{
		"-device", "virtio-serial-pci",
		"-chardev", "socket,id=port,server=on,wait=off,path=" + socket,
		"-device", "virtserialport,chardev=port,name=" + name,
	}
}

// serialPort is the same for a second serial port.
func serialPort(t *testing.T) (socket string, args []string) {
	socket = filepath.Join(t.TempDir(), "port")
	return socket, []string{"-chardev", "socket,id=port,server=on,wait=off,path=" + socket, "-serial", "chardev:port"}
}

// connect gives a client of the machine's agent.
func (m *machine) connect(socket string) *agent.Client {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), bootTimeout)
	defer cancel()
	c, err := agent.NewClient(ctx, m.dial(ctx, socket))
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { c.Close() })
	return c
}

// dial waits for QEMU to listen.
func (m *machine) dial(ctx context.Context, socket string) net.Conn {
	m.t.Helper()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			return conn
		}
		select {
		case <-again.C:
		case <-m.ended:
			m.t.Fatal("QEMU has ended")
		case <-ctx.Done():
			m.t.Fatal(err)
		}
	}
}

// waitEnd waits until the machine has ended by itself.
func (m *machine) waitEnd() {
	m.t.Helper()
	select {
	case <-m.ended:
	case <-time.After(bootTimeout):
		m.t.Fatal("the machine does not end")
	}
}

// say types on the console.
func (m *machine) say(text string) {
	m.t.Helper()
	if _, err := m.input.WriteString(text); err != nil {
		m.t.Fatal(err)
	}
}

// expect waits for text on the console.
func (m *machine) expect(text string) {
	m.t.Helper()
	if err := m.console.wait(text, m.ended, bootTimeout); err != nil {
		m.t.Fatal(err)
	}
}

// console is what a machine has written.
type console struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func (c *console) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text.Write(b)
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
	return len(b), nil
}

func (c *console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

// wait waits for text to appear.
func (c *console) wait(text string, ended <-chan struct{}, timeout time.Duration) error {
	late := time.After(timeout)
	for {
		c.mu.Lock()
		found := bytes.Contains(c.text.Bytes(), []byte(text))
		if c.changed == nil {
			c.changed = make(chan struct{})
		}
		changed := c.changed
		c.mu.Unlock()
		if found {
			return nil
		}
		select {
		case <-changed:
		case <-ended:
			return fmt.Errorf("QEMU has ended before %q was on the console", text)
		case <-late:
			return fmt.Errorf("%q is not on the console", text)
		}
	}
}
