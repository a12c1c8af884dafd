package blk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
	"tandem/virtio/internal/iovec"
	"tandem/virtio/virtiotest"
)

// TestUnwritable opens files that may only be read, without root's privilege to
// write them all the same.
func TestUnwritable(t *testing.T) {
	path := image(t, 4096)
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The thread ends with the goroutine, and its lack of privilege too.
		runtime.LockOSThread()
		h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData // the call takes two of them
		if err := unix.Capset(&h, &none[0]); err != nil {
			t.Error(err)
			return
		}
		d, err := Open(Spec{Path: path})
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "blk: open disk "+path+" for writing: permission denied") {
			t.Errorf("error = %v", err)
		}
		if err == nil {
			d.Close()
		}
		if d, err = Open(Spec{Path: path, ReadOnly: true}); err != nil {
			t.Errorf("read-only: %v", err)
			return
		}
		d.Close()
	}()
	<-done
}

// loop makes a block device with blocks of n bytes out of an image.
func loop(t *testing.T, path string, blockSize uint32) string {
	t.Helper()
	testenv.Need(t, testenv.Root, testenv.LoopDevice)
	ctl, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer ctl.Close()
	backing, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer backing.Close()
	for {
		n, err := unix.IoctlRetInt(int(ctl.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			t.Fatalf("find a free loop device: %v", err)
		}
		name := "/dev/loop" + strconv.Itoa(n)
		dev, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		err = unix.IoctlLoopConfigure(int(dev.Fd()), &unix.LoopConfig{Fd: uint32(backing.Fd()), Size: blockSize})
		if errors.Is(err, unix.EBUSY) {
			dev.Close() // somebody else was quicker
			continue
		}
		if err != nil {
			t.Fatalf("configure %s: %v", name, err)
		}
		t.Cleanup(func() {
			if err := unix.IoctlSetInt(int(dev.Fd()), unix.LOOP_CLR_FD, 0); err != nil {
				t.Errorf("detach %s: %v", name, err)
			}
			dev.Close()
		})
		return name
	}
}

func TestBlockDevice(t *testing.T) {
	const size = 1 << 20
	path := image(t, size)
	want := content(t, path)
	dev := loop(t, path, 4096)
	d, err := Open(Spec{Path: dev})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Spec{Path: dev, ReadOnly: true}); !errors.Is(err, ErrInUse) {
		t.Errorf("second Open: error = %v, want ErrInUse", err)
	}
	g := virtiotest.New(t, virtiotest.Kinds()[0], d, virtiotest.Options{})
	// The device is detached in a cleanup that runs after this one.
	defer func() {
		g.ResetDevice()
		d.Close()
	}()
	g.Start(^uint64(0), queueSize)
	if got := g.Config64(configCapacity); got != size/512 {
		t.Errorf("capacity = %d, want %d", got, size/512)
	}
	if got := g.Config32(configBlkSize); got != 4096 {
		t.Errorf("blk_size = %d, want 4096", got)
	}
	data := bytes.Repeat([]byte("loop"), 1024)
	for _, c := range []struct {
		name string
		kind uint32
		sec  uint64
		data []byte
		at   int // what of the image changes
		to   []byte
	}{
		{"write", typeOut, 8, data, 4096, data},
		{"write less than a block", typeOut, 3, data[:512], 3 * 512, data[:512]},
		{"write zeroes", typeWriteZeroes, 0, ranges(blockRange{16, 8, 0}), 16 * 512, make([]byte, 4096)},
		{"write zeroes in less than a block", typeWriteZeroes, 0, ranges(blockRange{33, 2, 1}), 33 * 512, make([]byte, 1024)},
		{"discard", typeDiscard, 0, ranges(blockRange{64, 8, 0}), 64 * 512, nil},
		{"flush", typeFlush, 0, nil, 0, nil},
	} {
		if s, _ := do(g, 0, c.kind, c.sec, c.data, 0); s != statusOK {
			t.Errorf("%s: status %d", c.name, s)
		}
		copy(want[c.at:], c.to)
	}
	s, got := do(g, 0, typeIn, 0, nil, size)
	clear(want[64*512 : 72*512]) // discarded: may be anything
	clear(got[64*512 : 72*512])
	if s != statusOK || !bytes.Equal(got, want) {
		t.Errorf("read of all: status %d, right: %v", s, bytes.Equal(got, want))
	}
}

// The sectors that TestDurable's child writes, by which its system calls are told
// apart.
const (
	sectorThrough = 10 // FLUSH was not agreed on
	sectorBack    = 20 // FLUSH was
	sectorOff     = 30 // the driver turned the cache off
	sectorOn      = 40 // and on again
	childImage    = "TANDEM_BLK_IMAGE"
)

// TestDurable looks at the system calls of a child that writes: when is what was
// answered on the disk? (Nothing else can tell without cutting the power.)
func TestDurable(t *testing.T) {
	if path := os.Getenv(childImage); path != "" {
		durableChild(t, path)
		return
	}
	testenv.Need(t, testenv.Strace)
	path, log := image(t, 1<<16), filepath.Join(t.TempDir(), "log")
	cmd := exec.Command("strace", "-f", "-qq", "-e", "signal=none", "-e", "trace=pwritev2,fdatasync", "-o", log,
		os.Args[0], "-test.run", "^TestDurable$", "-test.timeout", "60s")
	cmd.Env = append(os.Environ(), childImage+"="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var got []string
	call := regexp.MustCompile(`(?m)(fdatasync)\(|pwritev2\(.*\], \d+, (\d+), (\w+)\)|(pwritev2)\(`)
	for _, m := range call.FindAllStringSubmatch(string(content(t, log)), -1) {
		switch {
		case m[1] != "":
			got = append(got, "fdatasync")
		case m[4] != "":
			t.Fatalf("a call that strace cut in two:\n%s", content(t, log))
		default:
			off, _ := strconv.Atoi(m[2])
			got = append(got, strconv.Itoa(off/512)+" "+m[3])
		}
	}
	want := []string{
		"10 RWF_DSYNC",
		"fdatasync", // of a discard: without a cache it has to be durable too
		"20 0",
		"fdatasync",                 // the flush
		"fdatasync", "30 RWF_DSYNC", // the cache is turned off
		"40 0",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("calls = %q, want %q", got, want)
	}
}

func durableChild(t *testing.T, path string) {
	sector := make([]byte, 512)
	request := func(g *virtiotest.Guest, kind uint32, at uint64, data []byte) {
		if s, _ := do(g, 0, kind, at, data, 0); s != statusOK {
			t.Fatalf("request %d: status %d", kind, s)
		}
	}
	g, _ := start(t, Spec{Path: path}, 1<<featureDiscard)
	request(g, typeOut, sectorThrough, sector)
	request(g, typeDiscard, 0, ranges(blockRange{64, 8, 0}))

	g.Start(1<<featureFlush, 16)
	request(g, typeOut, sectorBack, sector)
	request(g, typeFlush, 0, nil)

	g.Start(1<<featureFlush|1<<featureConfigWCE, 16)
	g.WriteConfig(configWriteback, []byte{0})
	request(g, typeOut, sectorOff, sector)
	g.WriteConfig(configWriteback, []byte{1})
	request(g, typeOut, sectorOn, sector)
}

// TestStorageCannotZero has a file system that knows no ZERO_RANGE, or pretends to:
// zeros have to be written out.
func TestStorageCannotZero(t *testing.T) {
	path := image(t, 1<<20)
	b, err := openBacking(path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	var v iovec.Vector
	if err := b.writeZeros(&v, 512, 1<<20-1024); err != nil {
		t.Fatal(err)
	}
	got := content(t, path)
	if n := bytes.Count(got[512:1<<20-512], []byte{0}); n != 1<<20-1024 {
		t.Errorf("%d zeros, want %d", n, 1<<20-1024)
	}
	if first := binary.LittleEndian.Uint64(got[1<<20-512:]); first != 2047 {
		t.Errorf("the sector after the zeros begins with %d, want 2047", first)
	}
	if got[511] == 0 {
		t.Error("the byte before the zeros is gone")
	}
}
