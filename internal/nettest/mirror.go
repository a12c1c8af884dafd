package nettest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tandem/internal/testenv"
)

// Mirror is a repository of Debian's kind, with one package in it.
type Mirror struct {
	t      testing.TB
	dir    string
	SHA256 string // of the package's file
}

const (
	mirrorPackage = "freight"
	mirrorSize    = 3 << 20 // many segments of 64 KiB
)

// NewMirror makes one.
func NewMirror(t testing.TB) *Mirror {
	t.Helper()
	testenv.Need(t, testenv.APT)
	m := &Mirror{t: t, dir: t.TempDir()}
	tree := t.TempDir()
	control := "Package: " + mirrorPackage + "\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\n" +
		"Description: bytes that nothing can make fewer\n"
	data := make([]byte, mirrorSize)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data) // it never fails
	m.must(os.MkdirAll(filepath.Join(tree, "DEBIAN"), 0o755))
	m.must(os.WriteFile(filepath.Join(tree, "DEBIAN/control"), []byte(control), 0o644))
	m.must(os.WriteFile(filepath.Join(tree, "data"), data, 0o644))
	deb := filepath.Join(m.dir, mirrorPackage+"_1.0_all.deb")
	if out, err := exec.Command("dpkg-deb", "-Znone", "--root-owner-group", "--build", tree, deb).CombinedOutput(); err != nil {
		t.Fatalf("dpkg-deb: %v: %s", err, out)
	}
	text, err := os.ReadFile(deb)
	m.must(err)
	sum := sha256.Sum256(text)
	m.SHA256 = hex.EncodeToString(sum[:])
	index := fmt.Sprintf("%sFilename: ./%s\nSize: %d\nSHA256: %s\n\n", control, filepath.Base(deb), len(text), m.SHA256)
	m.must(os.WriteFile(filepath.Join(m.dir, "Packages"), []byte(index), 0o644))
	return m
}

func (m *Mirror) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// Serve serves it until the test is over.
func (m *Mirror) Serve(l net.Listener) { serve(m.t, l, http.FileServer(http.Dir(m.dir))) }

func serve(t testing.TB, l net.Listener, h http.Handler) {
	server := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() {
		_ = server.Serve(l) // until it is closed
		close(done)
	}()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
}

// toGateway begins a script that asks the host.
const toGateway = `#!/bin/sh
export PATH=/bin
gateway=$(ip -4 route | sed -n 's/^default via \([^ ]*\).*/\1/p')`

// fetch asks the mirror at the default gateway, and prints the digest of what it got.
const fetch = toGateway + `
echo "deb [trusted=yes] http://$gateway:$1/ ./" >/etc/apt/sources.list
cd /tmp && apt-get update >&2 && apt-get download PACKAGE >&2 && sha256sum PACKAGE*.deb
`

// aptConf has apt do without the rest of Debian: dpkg, a user of its own, translations.
const aptConf = `APT::Architecture "amd64";
APT::Architectures "amd64";
APT::Sandbox::User "root";
Acquire::Languages "none";
`

// Client puts apt into a root file system: there, `/fetch PORT` prints the SHA256 and the name of the package's file.
func (m *Mirror) Client(r *RootFS) {
	m.t.Helper()
	for _, dir := range []string{
		"etc/apt/apt.conf.d", "etc/apt/preferences.d", "var/lib/apt/lists/partial", "var/lib/dpkg", "var/cache/apt/archives/partial",
	} {
		m.must(os.MkdirAll(filepath.Join(r.Dir, dir), 0o755))
	}
	r.Write("var/lib/dpkg/status", 0o644, "")
	r.Write("etc/apt/apt.conf", 0o644, aptConf)
	r.Write("fetch", 0o755, strings.ReplaceAll(fetch, "PACKAGE", mirrorPackage))
	for _, table := range []string{"/usr/share/dpkg/cputable", "/usr/share/dpkg/tupletable"} { // of architectures
		r.copyFile(table, table)
	}
	apt, err := exec.LookPath("apt-get")
	m.must(err)
	r.Add(apt, "bin/apt-get")
	const methods = "/usr/lib/apt/methods"
	entries, err := os.ReadDir(methods)
	m.must(err)
	for _, e := range entries {
		r.Add(filepath.Join(methods, e.Name()), filepath.Join(methods, e.Name()))
	}
}
