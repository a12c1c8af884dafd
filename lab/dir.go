package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"tandem/internal/process"
)

// The files of a state folder. The folder's own lock is held by whoever is starting a lab or tidying up; the lock on
// the supervisor's file by the supervisor, from before its start to its end.
const (
	supervisorFile = "supervisor"     // a record, and the supervisor's lock
	socketFile     = "lab.sock"       // where the supervisor listens
	consoleFile    = "console.log"    // what the lab's kernel said
	logFile        = "supervisor.log" // the supervisor's standard error
)

// maxSocketPath is what sockaddr_un has room for, with the terminating zero.
const maxSocketPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// record is what the supervisor's file holds: the processes to look for when it is found without its supervisor.
type record struct {
	Supervisor process.ID `json:"supervisor"`
	QEMU       process.ID `json:"qemu"`
}

// dir is a state folder.
type dir string

func (d dir) file(name string) string { return filepath.Join(string(d), name) }

// DefaultDir is the user's own state folder: $TANDEM_LAB_DIR, or "tandem/lab" in $XDG_RUNTIME_DIR, or where there
// is none, "tandem-UID/lab" in /run if the user may write there and else in the folder for temporary files.
func DefaultDir() (string, error) {
	if d := os.Getenv("TANDEM_LAB_DIR"); d != "" {
		return filepath.Abs(d)
	}
	if d := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(d) {
		return filepath.Join(d, "tandem", "lab"), nil
	}
	uid := os.Getuid()
	base := os.TempDir()
	if uid == 0 {
		base = "/run"
	}
	return filepath.Join(base, "tandem-"+strconv.Itoa(uid), "lab"), nil
}

// openDir gives the state folder of that name, which need not be there.
func openDir(name string) (dir, error) {
	if name == "" {
		var err error
		if name, err = DefaultDir(); err != nil {
			return "", err
		}
	}
	name, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	d := dir(name)
	if n := len(d.file(socketFile)); n > maxSocketPath {
		return "", fmt.Errorf("state folder %s: the socket's path would have %d bytes, at most %d are possible", name, n, maxSocketPath)
	}
	return d, nil
}

// make makes the folder and sees to it that nobody else can change what is in it: whoever can put a socket there, or
// connect to ours, runs commands as this user.
func (d dir) make() error {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return err
	}
	for path, private := range map[string]bool{string(d): true, filepath.Dir(string(d)): false} {
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		if err := checkOwned(path, info, private); err != nil {
			return fmt.Errorf("state folder: %w", err)
		}
	}
	return nil
}

// checkOwned tells why others could change a folder's entries. A private one they may not even look into.
func checkOwned(path string, info fs.FileInfo, private bool) error {
	owner := int(info.Sys().(*syscall.Stat_t).Uid)
	mode := info.Mode()
	switch {
	case !mode.IsDir():
		return fmt.Errorf("%s: %w", path, syscall.ENOTDIR)
	case owner != os.Getuid() && (private || owner != 0):
		return fmt.Errorf("%s belongs to user %d: %w", path, owner, fs.ErrPermission)
	case private && mode.Perm()&0o077 != 0:
		return fmt.Errorf("%s has mode %#o, not 0700: %w", path, mode.Perm(), fs.ErrPermission)
	case mode.Perm()&0o022 != 0 && mode&fs.ModeSticky == 0:
		return fmt.Errorf("%s has mode %#o, others can write to it: %w", path, mode.Perm(), fs.ErrPermission)
	}
	return nil
}

// clean ends what a supervisor that died has left, and removes its files but the record, which is the caller's lock.
// The caller holds both locks.
func (d dir) clean(ctx context.Context, supervisor *os.File) error {
	var r record
	switch err := json.NewDecoder(supervisor).Decode(&r); {
	case err != nil: // empty, or cut short by the supervisor's death: it had not started QEMU yet
	case r.QEMU.PID != 0:
		if err := kill(ctx, r.QEMU); err != nil {
			return err
		}
	}
	for _, name := range []string{socketFile, consoleFile, logFile} {
		if err := os.Remove(d.file(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return d.forgetFailures(failureAge)
}

// remove removes the folder if nothing is left in it but the record, and tandem's own folder around it if that is
// empty then. The caller holds both locks.
func (d dir) remove() {
	_ = os.Remove(d.file(supervisorFile))
	if parent := filepath.Dir(string(d)); os.Remove(string(d)) == nil && strings.HasPrefix(filepath.Base(parent), "tandem") {
		_ = os.Remove(parent)
	}
}

// readRecord reads what the supervisor wrote down.
func (d dir) readRecord() (record, error) {
	var r record
	text, err := os.ReadFile(d.file(supervisorFile))
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("%s: %w", d.file(supervisorFile), err)
	}
	return r, nil
}
