package store

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrNoPackage tells that the distribution has no package of that name, as far as the index on this machine knows.
var ErrNoPackage = errors.New("no such package")

// A stanza is what apt's signed index says of a package: one version of it, the candidate for installation.
type stanza struct {
	name, version string
	depends       []string // names alone; of alternatives, the first
	size          int64
	sha256        string
}

// lookPath finds the tools of the distribution, or says what to do without.
func lookPath(tools ...string) error {
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%w: kernels are pulled with Debian's apt and dpkg; elsewhere use `tandem kernel import`", err)
		}
	}
	return nil
}

// run gives the output of a command, or its last words.
func run(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := command(ctx, name, args...)
	var out, words bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &words
	if err := cmd.Run(); err != nil {
		return nil, failed(ctx, name, err, words.Bytes())
	}
	return out.Bytes(), nil
}

// command gives a command whose words don't depend on the user's language, and that ends with all of its children when
// ctx does: dpkg-deb leaves the unpacking to one, apt the downloading.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	return cmd
}

// failed makes one line of how a command failed.
func failed(ctx context.Context, name string, err error, words []byte) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", name, ctx.Err())
	}
	var said []string
	for line := range strings.Lines(string(words)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "W:") {
			said = append(said, strings.TrimPrefix(strings.TrimPrefix(line, "E: "), "N: "))
		}
	}
	if len(said) == 0 {
		return fmt.Errorf("%s: %w", name, err)
	}
	return fmt.Errorf("%s: %s: %w", name, strings.Join(said[max(0, len(said)-3):], "; "), err)
}

// aptShow gives the stanza of a package's candidate version.
func aptShow(ctx context.Context, pkg string) (stanza, error) {
	out, err := run(ctx, "apt-cache", "show", "--no-all-versions", pkg)
	if ctx.Err() != nil {
		return stanza{}, err
	}
	if err != nil || len(bytes.TrimSpace(out)) == 0 {
		if empty, e := aptIndexEmpty(ctx); e == nil && empty {
			return stanza{}, fmt.Errorf("package %s: apt's package index is empty, run `apt-get update`: %w", pkg, ErrNoPackage)
		}
		return stanza{}, fmt.Errorf("package %s: apt's index does not have it (`apt-get update` fetches a newer one): %w", pkg, ErrNoPackage)
	}
	s, err := parseStanza(out)
	if err != nil {
		return stanza{}, fmt.Errorf("package %s: apt-cache show: %w", pkg, err)
	}
	if s.sha256 == "" || s.size == 0 {
		// Installed from a file, so that the status file of dpkg knows it and no archive does.
		return stanza{}, fmt.Errorf("package %s: no archive in apt's index offers it, run `apt-get update`: %w", pkg, ErrNoPackage)
	}
	return s, nil
}

// aptIndexEmpty tells whether apt knows of no archive at all: lists come with `apt-get update`, and images of
// containers ship without.
func aptIndexEmpty(ctx context.Context) (bool, error) {
	out, err := run(ctx, "apt-get", "indextargets", "--format", "$(FILENAME)", "Created-By: Packages")
	if err != nil {
		return false, err
	}
	for file := range strings.Lines(string(out)) {
		if _, err := os.Stat(strings.TrimSpace(file)); err == nil {
			return false, nil
		}
	}
	return true, nil
}

// parseStanza reads the first paragraph of fields, deb-control(5).
func parseStanza(data []byte) (stanza, error) {
	var s stanza
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			if s.name != "" {
				break
			}
			continue
		}
		key, value, ok := strings.Cut(line, ":")
		if !ok || line[0] == ' ' || line[0] == '\t' {
			continue
		}
		value = strings.TrimSpace(value)
		switch strings.ToLower(key) {
		case "package":
			s.name = value
		case "version":
			s.version = value
		case "pre-depends", "depends":
			s.depends = append(s.depends, parseDepends(value)...)
		case "size":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil || n < 0 {
				return stanza{}, fmt.Errorf("size %q of package %q", value, s.name)
			}
			s.size = n
		case "sha256":
			s.sha256 = strings.ToLower(value)
		}
	}
	if s.name == "" || s.version == "" {
		return stanza{}, errors.New("no package in the answer")
	}
	return s, nil
}

// parseDepends reads "a (= 1), b | c, d:any" as a, b, d.
func parseDepends(value string) []string {
	var names []string
	for part := range strings.SplitSeq(value, ",") {
		part, _, _ = strings.Cut(part, "|")
		part, _, _ = strings.Cut(part, "(")
		part, _, _ = strings.Cut(part, ":")
		if part = strings.TrimSpace(part); part != "" {
			names = append(names, part)
		}
	}
	return names
}

// aptDownload fetches a package's file into dir. apt checks it against the index that the distribution has signed.
func aptDownload(ctx context.Context, dir string, s stanza, progress Progress) error {
	status, statusEnd, err := os.Pipe()
	if err != nil {
		return err
	}
	defer status.Close()
	// The first file that is inherited is descriptor 3. apt would drop root for a user of its own that cannot write
	// into a folder of root's, and warn that it had to keep it.
	cmd := command(ctx, "apt-get", "download", "-q", "-o", "APT::Status-Fd=3", "-o", "APT::Sandbox::User=root", s.name+"="+s.version)
	cmd.Dir = dir
	cmd.ExtraFiles = []*os.File{statusEnd}
	var words bytes.Buffer
	cmd.Stderr = &words
	err = cmd.Start()
	statusEnd.Close()
	if err != nil {
		return fmt.Errorf("apt-get: %w", err)
	}
	watchDownload(status, s, progress)
	if err := cmd.Wait(); err != nil {
		return failed(ctx, "apt-get download "+s.name, err, words.Bytes())
	}
	progress("download "+s.name, s.size, s.size)
	return nil
}

// watchDownload turns apt's status lines, "dlstatus:1:PERCENT:TEXT", into progress, until apt has closed its end.
func watchDownload(r io.Reader, s stanza, progress Progress) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.SplitN(lines.Text(), ":", 4)
		if len(f) < 3 || f[0] != "dlstatus" {
			continue
		}
		if percent, err := strconv.ParseFloat(f[2], 64); err == nil && percent >= 0 && percent <= 100 {
			progress("download "+s.name, int64(percent/100*float64(s.size)), s.size)
		}
	}
	// A line too long for the scanner must not stop apt at a full pipe.
	_, _ = io.Copy(io.Discard, r)
}
