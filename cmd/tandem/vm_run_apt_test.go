package main

import (
	"net"
	"strings"
	"testing"

	"tandem/internal/nettest"
)

// TestVMRunAPT has apt in a guest download a package from a mirror on the host's side of the bridge.
func TestVMRunAPT(t *testing.T) {
	needGuests(t)
	h := newNetHost(t)
	mirror, root := nettest.NewMirror(t), nettest.NewRootFS(t)
	mirror.Client(root)
	mirror.Serve(h.listen(":8000"))
	g := h.boot("debian", "--net", "bridge", "--add", root.Dir+":/debian")
	g.do("mount -o bind /dev /debian/dev")
	text, status := g.try("chroot /debian /fetch 8000 | sed 's/^/digest /'")
	_, digest, _ := strings.Cut(text, "digest ")
	if digest, _, _ = strings.Cut(digest, " "); status != "0" || digest != mirror.SHA256 {
		t.Errorf("apt in a guest: status %s, %s, want %s", status, text, mirror.SHA256)
	}
	g.leave()
	h.wantNothingLeft()
}

// listen makes a listening socket in the host's namespace.
func (h *netHost) listen(address string) (l net.Listener) {
	h.t.Helper()
	h.must(h.ns.Do(func() (err error) {
		l, err = net.Listen("tcp", address)
		return err
	}))
	return l
}
