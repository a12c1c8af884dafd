package vmm

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tandem/boot/initramfs"
	"tandem/boot/store"
	"tandem/guest/config"
	"tandem/internal/testenv"
	"tandem/vmm/layout"
)

// linuxTime bounds a boot: the lab's processors are emulated, and shared.
const linuxTime = 5 * time.Minute

// linuxSpec is a machine that boots the store's guest kernel with tandem as init,
// which runs script on the console and then powers off.
func linuxSpec(t *testing.T, script string) Spec {
	t.Helper()
	testenv.Need(t, testenv.KVMLinux, testenv.GuestKernel, testenv.Busybox)
	kernels, err := store.Open("")
	if err != nil {
		t.Fatal(err)
	}
	kernel, err := kernels.Get(store.GuestPackage)
	if err != nil {
		t.Fatal(err)
	}
	base, err := initramfs.Base{
		Init: testenv.Tandem(t), ModulesDir: kernel.Modules,
		Sets: []initramfs.Set{initramfs.GuestBoot, initramfs.GuestDevices},
	}.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	modules, err := base.Load("virtio_pci", "virtio_mmio", "virtio_blk", "virtio_rng")
	if err != nil {
		t.Fatal(err)
	}
	c := config.Default()
	c.Modules = config.ModulesAt(modules...)
	// The last stty waits until all is sent (TCSETSW): when a terminal's session leader ends, the kernel throws away
	// what a slow line has not sent yet.
	c.Console.Command = []string{"/bin/sh", "-c", "stty raw -echo; " + script + "\nstty raw"}
	text, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := initramfs.Overlay(text)
	if err != nil {
		t.Fatal(err)
	}
	cache, err := store.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return Spec{
		Name: "linux", CPUs: 1, Memory: 256 << 20,
		Kernel: &Kernel{
			Path: kernel.Image, Cache: filepath.Join(cache, "unpacked"),
			Cmdline: Cmdline() + " quiet loglevel=3",
			Initrd:  []Part{{Path: base.Path, Immutable: true}, {Bytes: overlay}},
		},
		Report: func(device string, err error) { t.Errorf("%s: %v", device, err) },
	}
}

// runLinux boots it and gives what came out of the console.
func runLinux(t *testing.T, spec Spec) (string, Outcome) {
	t.Helper()
	var out safeBuffer
	spec.Serial[0].Out = &out
	vm := newVM(t, spec)
	if err := vm.Start(); err != nil {
		t.Fatal(err)
	}
	o := waitLinux(t, vm)
	if t.Failed() {
		t.Logf("console:\n%s", out.String())
	}
	return out.String(), o
}

func waitLinux(t *testing.T, vm *VM) Outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), linuxTime)
	defer cancel()
	o, err := vm.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// Each way into the kernel, each transport, more memory than fits below the hole,
// several vCPUs; and a disk whose bytes go both ways.
func TestLinuxBoots(t *testing.T) {
	for _, test := range []struct {
		entry     Entry
		transport Transport
		cpus      int
		memory    uint64
	}{
		{EntryLong, PCI, 3, 5 << 30}, // three: APIC ids are reckoned in powers of two
		{EntryPVH, MMIO, 1, 256 << 20},
		{EntryDecompress, PCI, 2, 512 << 20},
	} {
		t.Run(fmt.Sprintf("%s %s", test.entry, test.transport), func(t *testing.T) {
			spec := linuxSpec(t, `echo cpus $(nproc); grep MemTotal /proc/meminfo
				dd if=/dev/vda bs=512 count=1 2>/dev/null
				echo to the host | dd of=/dev/vda bs=512 seek=1 conv=fsync 2>/dev/null
				cat /sys/class/misc/hw_random/rng_current
				grep -c virtio /proc/interrupts`)
			spec.Kernel.Entry, spec.CPUs, spec.Memory = test.entry, test.cpus, test.memory
			disk := diskFile(t, 1<<20)
			content := make([]byte, 512)
			copy(content, "from the host\n")
			if err := os.WriteFile(disk, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(disk, 1<<20); err != nil {
				t.Fatal(err)
			}
			spec.Devices = []Device{diskDevice("disk0", test.transport, disk), rngDevice("rng0", test.transport)}
			got, o := runLinux(t, spec)
			if o.Ending != PowerOff {
				t.Errorf("outcome = %v", o)
			}
			if len(o.Marks) != 1 || o.Marks[0].Value != layout.BootTimerInit {
				t.Errorf("marks = %+v, want init's", o.Marks)
			}
			for _, want := range []string{fmt.Sprintf("cpus %d\n", test.cpus), "from the host", "virtio_rng.0"} {
				if !strings.Contains(got, want) {
					t.Errorf("the guest did not say %q", want)
				}
			}
			if kb := number(t, got, `MemTotal: +(\d+) kB`); kb<<10 > test.memory || kb<<10 < test.memory*3/4 {
				t.Errorf("the guest sees %d kB of %d", kb, test.memory>>10)
			}
			sector := make([]byte, 12)
			f, err := os.Open(disk)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.ReadAt(sector, 512); err != nil || string(sector) != "to the host\n" {
				t.Errorf("the disk holds %q, %v", sector, err)
			}
			if t.Failed() {
				t.Logf("console:\n%s", got)
			}
		})
	}
}

func number(t *testing.T, text, pattern string) uint64 {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		t.Errorf("no %s in %q", pattern, text)
		return 0
	}
	n, err := strconv.ParseUint(m[1], 10, 64)
	if err != nil {
		t.Error(err)
	}
	return n
}

// A kernel that reboots and one that panics pull the same line.
func TestLinuxEndings(t *testing.T) {
	for _, test := range []struct {
		script string
		want   Ending
	}{
		{"reboot -f", Reboot},
		{"echo c > /proc/sysrq-trigger", Panic},
	} {
		t.Run(test.want.String(), func(t *testing.T) {
			got, o := runLinux(t, linuxSpec(t, test.script))
			if o.Ending != test.want {
				t.Errorf("outcome = %v, want %v; console:\n%s", o, test.want, got)
			}
		})
	}
}

// Input that is pushed at a guest while it reads slowly arrives whole: RTS holds it
// back. (What comes before a port is in raw mode is the line discipline's affair.)
func TestLinuxSerialInput(t *testing.T) {
	const size = 8000
	sent := make([]byte, size)
	for i := range sent {
		sent[i] = byte(i * 7)
	}
	spec := linuxSpec(t, fmt.Sprintf(`exec 3<>/dev/ttyS1; stty raw -echo crtscts <&3; echo ready
		dd bs=1 count=%d <&3 2>/dev/null >/tmp/in; cat /tmp/in >&3`, size))
	ready := &waitWriter{want: "ready", seen: make(chan struct{})}
	var back safeBuffer
	spec.Serial[0].Out = ready
	spec.Serial[1] = Serial{In: &gatedReader{ready.seen, bytes.NewReader(sent)}, Out: &back}
	vm := newVM(t, spec)
	if err := vm.Start(); err != nil {
		t.Fatal(err)
	}
	if o := waitLinux(t, vm); o.Ending != PowerOff {
		t.Errorf("outcome = %v", o)
	}
	if back.String() != string(sent) {
		t.Errorf("%d bytes came back, not the %d that were sent", len(back.String()), size)
	}
}

// waitWriter closes seen when want was written.
type waitWriter struct {
	want string
	seen chan struct{}
	text string
}

func (w *waitWriter) Write(p []byte) (int, error) {
	before := strings.Contains(w.text, w.want)
	w.text += string(p)
	if !before && strings.Contains(w.text, w.want) {
		close(w.seen)
	}
	return len(p), nil
}

// gatedReader reads r once open is closed.
type gatedReader struct {
	open <-chan struct{}
	r    io.Reader
}

func (g *gatedReader) Read(p []byte) (int, error) {
	<-g.open
	return g.r.Read(p)
}

// A paused kernel goes on as if nothing had been, with all its vCPUs.
func TestLinuxPause(t *testing.T) {
	spec := linuxSpec(t, "while :; do echo tick; sleep 0.05; done & read enough; kill $!; echo tock")
	spec.CPUs = 2
	r, w := io.Pipe()
	enough := make(chan struct{})
	spec.Serial[0] = Serial{In: &gatedReader{enough, strings.NewReader("\n")}, Out: w}
	vm := newVM(t, spec)
	ticks := make(chan struct{}, 1)
	var all bytes.Buffer
	var reader sync.WaitGroup
	reader.Go(func() {
		buf := make([]byte, 256)
		for {
			n, err := r.Read(buf)
			all.Write(buf[:n])
			if bytes.Contains(buf[:n], []byte("tick")) {
				select {
				case ticks <- struct{}{}:
				default:
				}
			}
			if err != nil {
				return
			}
		}
	})
	if err := vm.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), linuxTime)
	defer cancel()
	for range 5 {
		select {
		case <-ticks:
		case <-ctx.Done():
			t.Fatalf("no tick; console:\n%s", all.String())
		}
		if err := vm.Pause(ctx); err != nil {
			t.Fatal(err)
		}
		if err := vm.Resume(); err != nil {
			t.Fatal(err)
		}
	}
	close(enough)
	o := waitLinux(t, vm)
	w.Close()
	reader.Wait()
	if o.Ending != PowerOff || !strings.Contains(all.String(), "tock") {
		t.Errorf("outcome = %v, console:\n%s", o, all.String())
	}
}
