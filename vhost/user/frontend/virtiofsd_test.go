package frontend_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"tandem/internal/testenv"
	"tandem/vhost/user/frontend"
	"tandem/virtio"
	"tandem/virtio/virtiotest"
)

// FUSE's requests. linux/fuse.h.
const (
	fuseLookup = 1
	fuseOpen   = 14
	fuseRead   = 15
	fuseInit   = 26
	fuseRoot   = 1
)

// TestVirtiofsd has virtiofsd serve a folder, and reads a file of it with requests
// made by hand.
func TestVirtiofsd(t *testing.T) {
	testenv.Need(t, testenv.Virtiofsd, testenv.Root)
	dir, socket := t.TempDir(), filepath.Join(t.TempDir(), "s")
	want := bytes.Repeat([]byte("of the host's\n"), 200)
	if err := os.WriteFile(filepath.Join(dir, "file"), want, 0o600); err != nil {
		t.Fatal(err)
	}
	program, err := testenv.FindVirtiofsd()
	if err != nil {
		t.Fatal(err)
	}
	var output bytes.Buffer
	cmd := exec.Command(program, "--socket-path="+socket, "-o", "source="+dir)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// It ends with the connection.
	timer := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	defer func() {
		_ = cmd.Wait()
		timer.Stop()
		if t.Failed() {
			t.Logf("virtiofsd: %s", output.String())
		}
	}()
	tag := make([]byte, 40) // struct virtio_fs_config
	copy(tag, "mytag")
	tag[36] = 1
	spec := frontend.Spec{Type: virtio.TypeFS, Queues: 2, Config: tag, Dial: frontend.Socket(socket), Once: true}
	dev, err := openSoon(spec)
	if err != nil {
		_ = cmd.Process.Kill()
		t.Fatal(err)
	}
	defer dev.Close()
	g := virtiotest.New(t, virtiotest.Kinds()[0], dev, virtiotest.Options{Shared: true})
	defer g.ResetDevice()
	g.Start(^uint64(0), 64)
	le := binary.LittleEndian
	u32 := func(list ...uint32) (b []byte) {
		for _, v := range list {
			b = le.AppendUint32(b, v)
		}
		return b
	}
	got := fuse(g, fuseInit, 0, u32(7, 31, 1<<20, 0), 64)
	if major := le.Uint32(got); major != 7 {
		t.Fatalf("FUSE version %d", major)
	}
	entry := fuse(g, fuseLookup, fuseRoot, []byte("file\x00"), 128)
	node := le.Uint64(entry)
	open := fuse(g, fuseOpen, node, u32(0, 0), 16)
	read := append(le.AppendUint64(nil, le.Uint64(open)), u32(0, 0, uint32(len(want)), 0, 0, 0, 0, 0)...)
	if got := fuse(g, fuseRead, node, read, len(want)); !bytes.Equal(got, want) {
		t.Errorf("read %q", got)
	}
}

// fuse makes a request on the first request queue, and gives the answer without its
// header.
func fuse(g *virtiotest.Guest, opcode uint32, node uint64, body []byte, room int) []byte {
	g.Helper()
	le := binary.LittleEndian
	head := le.AppendUint32(nil, uint32(40+len(body)))
	head = le.AppendUint32(head, opcode)
	head = le.AppendUint64(head, uint64(opcode)) // unique
	head = le.AppendUint64(head, node)
	head = append(head, make([]byte, 16)...) // uid, gid, pid, padding
	out, data := g.Out(16), g.Out(uint32(room))
	u := g.Do(1, g.In(head), g.In(body), out, data)
	answer := g.Bytes(out.GPA, 16)
	if status := int32(le.Uint32(answer[4:])); status != 0 || le.Uint64(answer[8:]) != uint64(opcode) {
		g.Fatalf("FUSE request %d: error %d, answer % x", opcode, status, answer)
	}
	return bytes.Clone(g.Bytes(data.GPA, uint64(u.Len)-16))
}
