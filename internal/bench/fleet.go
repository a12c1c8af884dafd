package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"

	"tandem/boot/initramfs"
	"tandem/boot/store"
	"tandem/network/netns"
)

// vessel is one monitor with a guest that stays, for load to be put on.
type vessel struct {
	name string
	path string
	// args are those of its devices.
	args func(v *vessel) []string
	// rival is the name of whom it is held against: its figure is divided by this one's.
	rival string

	number int
	peer   peer
	cmd    *exec.Cmd
	lines  *os.File // of its console
}

func (v *vessel) tap() string { return fmt.Sprint("bench", v.number) }

// fleet is all of them, in a network namespace of its own. They are booted once, and then measured in turn.
type fleet struct {
	ns      *netns.NS
	vessels []*vessel
	kernel  *store.Kernel
	initrd  string
	memory  int
}

// fleetInit is the guests' pid 1.
const fleetInit = `#!/bin/sh
export PATH=/bin
busybox mount -t devtmpfs dev /dev
busybox mount -t sysfs sys /sys
busybox mount -t proc proc /proc
for m in MODULES; do busybox insmod $m; done
n=$(busybox sed -n 's/.*bench=\([0-9]*\).*/\1/p' /proc/cmdline)
busybox ip link set lo up
busybox ip addr add 10.99.$n.2/24 dev eth0
busybox ip link set eth0 up
GODEBUG=asyncpreemptoff=1 exec /load -serve-load
`

// newFleet makes a fleet whose guests hold some more files.
func newFleet(ctx context.Context, o options, dir string, more ...initramfs.File) (*fleet, error) {
	kernels, err := store.Open("")
	if err != nil {
		return nil, err
	}
	kernel, err := kernels.Get("")
	if err != nil {
		return nil, err
	}
	f := &fleet{kernel: &kernel, memory: o.memory, initrd: filepath.Join(dir, "fleet.cpio")}
	// While a guest unpacks its archive, each file is in its memory twice.
	f.memory += 2 * fileSize(more) >> 20
	if err := f.writeInitrd(ctx, dir, more); err != nil {
		return nil, err
	}
	if f.ns, err = netns.New(); err != nil {
		return nil, err
	}
	return f, nil
}

// writeInitrd puts this program into the guest: it has to be static.
func (f *fleet) writeInitrd(ctx context.Context, dir string, more []initramfs.File) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	load, err := os.ReadFile(self)
	if err != nil {
		return err
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return fmt.Errorf("%w (Debian's busybox-static)", err)
	}
	base, err := initramfs.Base{
		Init: busybox, ModulesDir: f.kernel.Modules, Cache: dir,
		Sets: []initramfs.Set{initramfs.GuestBoot, initramfs.GuestDevices},
	}.Build(ctx)
	if err != nil {
		return err
	}
	modules, err := base.Load("virtio_pci", "virtio_net", "virtio_blk")
	if err != nil {
		return err
	}
	script := strings.Replace(fleetInit, "MODULES", strings.Join(modules, " "), 1)
	overlay, err := initramfs.Overlay([]byte("{}"), append([]initramfs.File{
		{Name: "/init", Mode: 0o755, Data: []byte(script)}, {Name: "/load", Mode: 0o755, Data: load},
	}, more...)...)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(base.Path)
	if err != nil {
		return err
	}
	return os.WriteFile(f.initrd, append(b, overlay...), 0o600)
}

func fileSize(files []initramfs.File) (size int) {
	for _, f := range files {
		size += len(f.Data)
	}
	return size
}

// add boots one more guest. If it fails, it is not of the fleet.
func (f *fleet) add(ctx context.Context, v *vessel) (err error) {
	v.number = len(f.vessels) + 1
	if err := f.makeTap(v.tap(), fmt.Sprintf("10.99.%d.1/24", v.number)); err != nil {
		return err
	}
	v.peer = peer{ns: f.ns, address: fmt.Sprintf("10.99.%d.2", v.number)}
	v.cmd = exec.CommandContext(ctx, v.path, append(f.guestArgs(v), v.args(v)...)...)
	v.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	v.cmd.Cancel = func() error { return syscall.Kill(-v.cmd.Process.Pid, syscall.SIGKILL) }
	said := new(strings.Builder)
	v.cmd.Stderr = said
	lines, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	v.cmd.Stdout = theirs
	// A pipe that stays open: a monitor may take the end of its input for the end of the console.
	if _, err := v.cmd.StdinPipe(); err != nil {
		return err
	}
	err = f.ns.Do(v.cmd.Start)
	theirs.Close()
	v.lines = lines
	if err != nil {
		return errors.Join(err, lines.Close())
	}
	if err := lines.SetReadDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		return err
	}
	seen, err := readUntil(lines, loadReady)
	if err != nil {
		v.end()
		return fmt.Errorf("%s: %w before its guest was ready; it printed %q and %q", v.name, err, tail(seen), tail(said.String()))
	}
	v.signal(syscall.SIGSTOP)
	f.vessels = append(f.vessels, v)
	return nil
}

// guestArgs are what each monitor is given of the guest.
func (f *fleet) guestArgs(v *vessel) []string {
	g := guest{
		kernel: f.kernel.Image, initrd: f.initrd, memory: f.memory,
		cmdline: "console=ttyS0 quiet panic=-1 bench=" + strconv.Itoa(v.number),
	}
	if strings.HasPrefix(v.name, "QEMU") {
		args := qemuArgs(g)
		args[1] += ",pcie=on"
		return args
	}
	return tandemArgs(g)
}

func (f *fleet) makeTap(name, address string) error {
	return f.ns.Do(func() error {
		tap := &netlink.Tuntap{
			LinkAttrs: netlink.LinkAttrs{Name: name}, Mode: netlink.TUNTAP_MODE_TAP, Queues: 1,
			Flags: netlink.TUNTAP_NO_PI | netlink.TUNTAP_VNET_HDR,
		}
		if err := netlink.LinkAdd(tap); err != nil {
			return fmt.Errorf("make tap %s: %w", name, err)
		}
		for _, file := range tap.Fds {
			file.Close()
		}
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr(address)
		if err != nil {
			return err
		}
		return errors.Join(netlink.AddrAdd(link, addr), netlink.LinkSetUp(link))
	})
}

func (v *vessel) end() {
	_ = v.cmd.Cancel()
	_ = v.cmd.Wait()
	v.lines.Close()
}

func (f *fleet) close() {
	for _, v := range f.vessels {
		v.end()
	}
	f.ns.Close()
}

// gauge is one thing that is measured of each guest.
type gauge struct {
	title, aim, unit string
	read             func(peer) (float64, error)
}

// measure takes readings of all guests in turn, after one turn that is not counted. All but the one that is measured are
// stopped meanwhile: a guest that has nothing to do does a little all the same.
func (f *fleet) measure(turns int, gauges []gauge) []table {
	all := make([][]result, len(gauges))
	for i := range all {
		all[i] = make([]result, len(f.vessels))
	}
	values := make(map[*result][]float64)
	for turn := -1; turn < turns; turn++ {
		for n, v := range f.vessels {
			progress("turn %d of %d: %s", max(turn+1, 0), turns, v.name)
			v.wake()
			for i, g := range gauges {
				r := &all[i][n]
				if r.err != nil {
					continue
				}
				value, err := g.read(v.peer)
				if err != nil {
					r.err = err
				} else if turn >= 0 {
					values[r] = append(values[r], value)
				}
			}
			v.signal(syscall.SIGSTOP)
		}
	}
	progress("")
	var tables []table
	for i, g := range gauges {
		t := table{Title: g.title, Aim: g.aim}
		for n, v := range f.vessels {
			r := &all[i][n]
			row := summary{Name: v.name, Unit: g.unit, Runs: len(values[r])}
			if r.err != nil {
				row.Error = r.err.Error()
			}
			if row.Runs > 0 {
				row.Min, row.Median, row.Max = spread(values[r])
			}
			t.Rows = append(t.Rows, row)
		}
		f.compare(t.Rows)
		tables = append(tables, t)
	}
	return tables
}

// compare divides the figures of tandem's by those of their rivals.
func (f *fleet) compare(rows []summary) {
	for i, v := range f.vessels {
		for _, own := range rows {
			if own.Name == v.rival && rows[i].Median > 0 {
				rows[i].Ratio = own.Median / rows[i].Median
			}
		}
	}
}

// wake lets a guest go on, and waits until it has caught up with what its timers missed.
func (v *vessel) wake() {
	if v.cmd != nil {
		v.signal(syscall.SIGCONT)
		_, _ = v.peer.roundTrip() // an error comes again
	}
}

func (v *vessel) signal(s syscall.Signal) {
	if v.cmd != nil {
		_ = syscall.Kill(-v.cmd.Process.Pid, s) // one that has ended is known by its guest, which does not answer
	}
}
