package machine

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/virtio/balloon"
	"tandem/virtio/blk"
	"tandem/virtio/limit"
	virtionet "tandem/virtio/net"
)

type fakeMachine struct{ did []string }

func (m *fakeMachine) Pause(context.Context) error { m.did = append(m.did, "pause"); return nil }
func (m *fakeMachine) Resume() error               { return errors.New("it is not paused") }
func (m *fakeMachine) Stop()                       { m.did = append(m.did, "stop") }
func (m *fakeMachine) State() string               { return "running" }

// cable is a backend that nothing comes out of.
type cable struct{ file *os.File }

func (c cable) Pairs() int               { return 1 }
func (c cable) File(int) *os.File        { return c.file }
func (c cable) Features() uint64         { return 0 }
func (c cable) SetOffloads(uint64) error { return nil }
func (c cable) SetPairs(int) error       { return nil }
func (c cable) Close() error             { return c.file.Close() }

func TestAPI(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[1])
	nic, err := virtionet.New(virtionet.Spec{Backend: cable{os.NewFile(uintptr(fds[0]), "cable")}})
	if err != nil {
		t.Fatal(err)
	}
	defer nic.Close()
	image := filepath.Join(t.TempDir(), "a.img")
	if err := os.WriteFile(image, make([]byte, 1<<16), 0o600); err != nil {
		t.Fatal(err)
	}
	disk, err := blk.Open(blk.Spec{Path: image})
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	memory, err := balloon.New(balloon.Spec{Target: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	vm := &fakeMachine{}
	r := Registry{Folder: t.TempDir()}
	e, err := r.Register(Record{Name: "a"}, Handler(vm,
		[]NIC{{Name: "net0", Path: "eventfd", Pairs: 1, Device: nic}, {Name: "net1", Path: "vhost", Pairs: 1, Device: nic}},
		[]Disk{{Name: "disk0", Source: image, Device: disk}}, memory))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	call := func(method, path string, in, out any) error {
		return r.Call(context.Background(), "a", method, path, in, out)
	}
	want := limit.Limits{Bytes: limit.Rate{PerSecond: 1000, Burst: 50}}
	for _, err := range []error{
		call("PUT", "/nics/net0/limits", NICLimits{Receive: &want}, nil),
		call("PUT", "/disks/disk0/limits", want, nil),
		call("PUT", "/balloon", BalloonTarget{2 << 20}, nil),
		call("PUT", "/pause", nil, nil),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	var nics []NICInfo
	if err := call("GET", "/nics", nil, &nics); err != nil || len(nics) != 2 {
		t.Fatalf("nics: %+v, %v", nics, err)
	}
	if nics[0].ReceiveLimits != want || nics[0].TransmitLimits != (limit.Limits{}) || len(nics[0].Receive) != 1 || nics[1].Receive != nil {
		t.Errorf("nics: %+v", nics)
	}
	var disks []DiskInfo
	if err := call("GET", "/disks", nil, &disks); err != nil || len(disks) != 1 || disks[0].Limits != want {
		t.Errorf("disks: %+v, %v", disks, err)
	}
	var b BalloonInfo
	if err := call("GET", "/balloon", nil, &b); err != nil || b.Target != 2<<20 || b.Actual != 0 || b.Statistics != nil || b.Resident == 0 {
		t.Errorf("balloon: %+v, %v", b, err)
	}
	bad := limit.Limits{Bytes: limit.Rate{Burst: 5}}
	for _, c := range []struct {
		method, path string
		in           any
		want         string
	}{
		{"PUT", "/nics/net0/limits", NICLimits{Transmit: &want, Receive: &bad}, "without a rate"},
		{"PUT", "/nics/net0/limits", map[string]int{"speed": 1}, "unknown field"},
		{"PUT", "/nics/net1/limits", NICLimits{}, "served elsewhere"},
		{"PUT", "/nics/net7/limits", NICLimits{}, `no network card "net7"`},
		{"PUT", "/disks/disk7/limits", want, `no disk "disk7"`},
		{"PUT", "/disks/disk0/limits", bad, "without a rate"},
		{"PUT", "/balloon", BalloonTarget{1}, "multiple of 4096"},
		{"PUT", "/balloon", map[string]int{"size": 1}, "unknown field"},
		{"PUT", "/resume", nil, "not paused"},
		{"GET", "/nothing", nil, "404"},
		{http.MethodDelete, "/state", nil, "Method Not Allowed"},
	} {
		if err := call(c.method, c.path, c.in, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: %v, want %q in it", c.method, c.path, err, c.want)
		}
	}
	if l := nic.Transmit.Limits(); l != (limit.Limits{}) {
		t.Errorf("a refused change has set %+v", l)
	}
	if err := call("PUT", "/stop", nil, nil); err != nil {
		t.Error(err)
	}
	e.server.Shutdown(context.Background()) // waits for the handlers
	if strings.Join(vm.did, " ") != "pause stop" {
		t.Errorf("the machine did %v", vm.did)
	}
}
