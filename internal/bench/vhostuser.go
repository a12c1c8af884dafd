package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tandem/internal/thread"
	"tandem/vhost/user/frontend"
	"tandem/virtio"
)

// backEnd is a process that serves a network card over vhost-user, with a tap as its other end, in a network namespace
// of its own.
type backEnd struct {
	name   string
	cmd    *exec.Cmd
	said   bytes.Buffer
	server *frontend.Device
	card   *cardDriver
	wire   int // a packet socket on the tap's link
}

// benchTap is its name in the back-end's network namespace.
const benchTap = "tap0"

// benchVhostUser measures back-ends of vhost-user with one driver, without any guest: the frames that it sends go to a
// tap, and those that it receives come from there. It needs no KVM.
func benchVhostUser(ctx context.Context, o options, dir string) ([]table, error) {
	if os.Geteuid() != 0 {
		return []table{{Title: "vhost-user", Notes: []string{"not measured: it makes taps, which takes root"}}}, nil
	}
	socket := func(name string) string { return filepath.Join(dir, name+".sock") }
	own, err := startBackEnd(ctx, "tandem vhost-user net", socket("tandem"), fmt.Sprintf(
		"ip tuntap add dev %s mode tap && ip link set %s up && exec %s vhost-user net --socket %s --tap %s",
		benchTap, benchTap, o.tandem, socket("tandem"), benchTap))
	if err != nil {
		return nil, err
	}
	defer own.close()
	ends := []*backEnd{own}
	var notes []string
	if _, err := exec.LookPath("dpdk-testpmd"); err != nil {
		notes = append(notes, "DPDK is not measured: "+err.Error()+" (Debian's dpdk-dev)")
	} else if dpdk, err := startBackEnd(ctx, "DPDK testpmd", socket("dpdk"), testpmd(socket("dpdk"))); err != nil {
		notes = append(notes, "DPDK is not measured: "+err.Error())
	} else {
		defer dpdk.close()
		ends = append(ends, dpdk)
		notes = append(notes, "testpmd polls the ring and the tap, and takes a whole processor also when there is nothing to do; tandem sleeps")
	}
	notes = append(notes, "the driver and, for frames that come, their sender are processes beside it, on the same processors")
	return measureBackEnds(ends, o.boots, notes)
}

// testpmd is the command that passes frames between a vhost-user port and a tap, with no huge pages.
func testpmd(socket string) string {
	cpus := fmt.Sprintf("@(0-%d)", runtime.NumCPU()-1)
	return strings.Join([]string{
		"exec dpdk-testpmd --no-huge -m 64 --no-pci --no-shconf --no-telemetry",
		"--lcores '0" + cpus + ",1" + cpus + "'",
		"--vdev net_vhost0,iface=" + socket + ",queues=1 --vdev net_tap0,iface=" + benchTap,
		"-- --total-num-mbufs=2048 --forward-mode=io --disable-link-check --no-flush-rx",
	}, " ")
}

// startBackEnd runs a shell's command that comes to listen on the socket, and has the driver connect.
func startBackEnd(ctx context.Context, name, socket, command string) (b *backEnd, err error) {
	b = &backEnd{name: name, cmd: exec.CommandContext(ctx, "sh", "-c", command), wire: -1}
	defer func() {
		if err != nil {
			b.close()
			err = fmt.Errorf("%s: %w; it said %q", name, err, tail(b.said.String()))
		}
	}()
	b.cmd.Env = append(os.Environ(), "RUNTIME_DIRECTORY="+filepath.Dir(socket))
	b.cmd.Stdout, b.cmd.Stderr = &b.said, &b.said
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if _, err := b.cmd.StdinPipe(); err != nil { // testpmd goes on until a line comes
		return b, err
	}
	// The thread lives as long as the process does: Pdeathsig is for the thread that forked.
	runtime.LockOSThread()
	if err := b.cmd.Start(); err != nil {
		return b, err
	}
	b.server, err = openSoon(ctx, frontend.Spec{
		Type: virtio.TypeNet, Queues: 2, QueueSize: cardQueue, Dial: frontend.Socket(socket), Once: true,
	})
	if err != nil {
		return b, err
	}
	if b.card, err = newCardDriver(b.server); err != nil {
		return b, err
	}
	b.wire, err = openWire(b.cmd.Process.Pid)
	return b, err
}

// openSoon opens a device whose back-end is about to listen.
func openSoon(ctx context.Context, spec frontend.Spec) (*frontend.Device, error) {
	for deadline := time.Now().Add(time.Minute); ; {
		d, err := frontend.Open(ctx, spec)
		if err == nil || time.Now().After(deadline) {
			return d, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// openWire opens a packet socket on the tap's link, in the network namespace of a process.
func openWire(pid int) (fd int, err error) {
	thread.Throwaway(func() { fd, err = openWireHere(fmt.Sprintf("/proc/%d/ns/net", pid)) })
	return fd, err
}

func openWireHere(namespace string) (int, error) {
	ns, err := os.Open(namespace)
	if err != nil {
		return -1, err
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return -1, fmt.Errorf("setns %s: %w", namespace, err)
	}
	link, err := net.InterfaceByName(benchTap)
	if err != nil {
		return -1, err
	}
	if link.Flags&net.FlagUp == 0 {
		return -1, fmt.Errorf("%s is down", benchTap)
	}
	// Of no protocol: it only sends.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("packet socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: link.Index}); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("bind to %s: %w", benchTap, err)
	}
	return fd, nil
}

func (b *backEnd) close() {
	if b.cmd.Process != nil {
		b.cmd.Process.Signal(syscall.SIGCONT) // it is to answer
	}
	if b.card != nil {
		b.card.close()
	}
	if b.server != nil {
		b.server.Close()
	}
	if b.wire >= 0 {
		unix.Close(b.wire)
	}
	if b.cmd.Process != nil {
		b.cmd.Process.Kill()
		b.cmd.Wait()
		runtime.UnlockOSThread()
	}
}

// cpu is the processor time of all of the process's threads so far.
func (b *backEnd) cpu() (time.Duration, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", b.cmd.Process.Pid))
	if err != nil || len(files) == 0 {
		return 0, errors.Join(err, fmt.Errorf("%s has ended; it said %q", b.name, tail(b.said.String())))
	}
	var sum time.Duration
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return 0, err
		}
		var ns int64
		if _, err := fmt.Sscan(string(text), &ns); err != nil {
			return 0, fmt.Errorf("%s: %w", file, err)
		}
		sum += time.Duration(ns)
	}
	return sum, nil
}

// measureBackEnds takes turns, and makes a table of each figure.
func measureBackEnds(ends []*backEnd, n int, notes []string) ([]table, error) {
	ways := []struct {
		name string
		run  func(*backEnd, time.Duration) (frames int, err error)
	}{
		{"sent by the driver to the tap", (*backEnd).send},
		{"received by the driver from the tap", (*backEnd).receive},
	}
	var tables []table
	for _, way := range ways {
		rates, costs := make([][]float64, len(ends)), make([][]float64, len(ends))
		for turn := -1; turn < n; turn++ {
			progress("frames %s: turn %d of %d", way.name, max(turn+1, 0), n)
			for i, b := range ends {
				if err := onlyOne(ends, b); err != nil {
					return nil, err
				}
				before, err := b.cpu()
				if err != nil {
					return nil, err
				}
				start := time.Now()
				frames, err := way.run(b, loadSeconds*time.Second)
				took := time.Since(start)
				if err != nil {
					return nil, fmt.Errorf("%s: frames %s: %w", b.name, way.name, err)
				}
				after, err := b.cpu()
				if err != nil {
					return nil, err
				}
				if turn >= 0 && frames > 0 {
					rates[i] = append(rates[i], float64(took.Nanoseconds())/float64(frames))
					costs[i] = append(costs[i], float64((after-before).Nanoseconds())/float64(frames))
				}
			}
		}
		progress("")
		tables = append(tables,
			table{Title: "vhost-user: a frame of 60 bytes " + way.name, Rows: backEndRows(ends, rates), Notes: notes},
			table{Title: "processor time of the back-end for it", Rows: backEndRows(ends, costs)})
		notes = nil
	}
	return tables, nil
}

// onlyOne stops all back-ends but one: one that polls would take a processor from it.
func onlyOne(ends []*backEnd, b *backEnd) error {
	for _, other := range ends {
		s := syscall.SIGSTOP
		if other == b {
			s = syscall.SIGCONT
		}
		if err := other.cmd.Process.Signal(s); err != nil {
			return fmt.Errorf("%s: %w; it said %q", other.name, err, tail(other.said.String()))
		}
	}
	return nil
}

func backEndRows(ends []*backEnd, values [][]float64) []summary {
	var rows []summary
	for i, b := range ends {
		row := summary{Name: b.name, Unit: "ns", Runs: len(values[i])}
		if row.Runs == 0 {
			row.Error = "no frame arrived"
		} else {
			row.Min, row.Median, row.Max = spread(values[i])
		}
		rows = append(rows, row)
	}
	return withRatios(rows)
}
