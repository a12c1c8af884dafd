package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"tandem/internal/thread"
)

// writeBundle makes a bundle of a static busybox that runs a command; limit is its memory's, if it is not 0. A bundle
// that is there is used again.
func writeBundle(tandem, dir string, limit uint64, args ...string) (string, error) {
	if _, err := os.Stat(filepath.Join(dir, "config.json")); err == nil {
		return dir, nil
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "rootfs", "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return "", err
	}
	text, err := os.ReadFile(busybox)
	if err == nil {
		err = os.WriteFile(filepath.Join(bin, "busybox"), text, 0o755)
	}
	for _, name := range []string{"sh", "true", "sleep"} {
		if err == nil {
			err = os.Symlink("busybox", filepath.Join(bin, name))
		}
	}
	if err != nil {
		return "", err
	}
	if out, err := exec.Command(tandem, "spec", "--bundle", dir).CombinedOutput(); err != nil {
		return "", fmt.Errorf("tandem-oci spec: %w: %s", err, out)
	}
	return dir, changeConfig(filepath.Join(dir, "config.json"), limit, args)
}

func changeConfig(path string, limit uint64, args []string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var config map[string]any
	if err := json.Unmarshal(text, &config); err != nil {
		return err
	}
	config["ociVersion"] = "1.0.2" // older peers take no later one
	process, _ := config["process"].(map[string]any)
	linux, _ := config["linux"].(map[string]any)
	resources, _ := linux["resources"].(map[string]any)
	if process == nil || resources == nil {
		return errors.New("tandem-oci spec: no process, or no linux.resources")
	}
	process["args"], process["terminal"] = args, false
	if limit != 0 {
		resources["memory"] = map[string]any{"limit": limit}
	}
	if text, err = json.Marshal(config); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

// withoutStrayCgroups calls f on a thread with mounts of its own, where there is no version 2 cgroup hierarchy beside
// those of version 1: older versions of crun start nothing where there is. All peers are measured so. Whatever f starts
// has to be started by its own goroutine.
func withoutStrayCgroups(f func() error) error {
	var err error
	thread.Throwaway(func() {
		if err = hideStrayCgroups(); err == nil {
			err = f()
		}
	})
	return err
}

func hideStrayCgroups() error {
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return fmt.Errorf("mounts of its own for the measurement: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mounts of its own for the measurement: %w", err)
	}
	// Not mountinfo's default, /proc/self: that is the first thread's.
	f, err := os.Open("/proc/thread-self/mountinfo")
	if err != nil {
		return err
	}
	defer f.Close()
	mounts, err := mountinfo.GetMountsFromReader(f, nil)
	if err != nil {
		return err
	}
	version1 := false
	var stray []string
	for _, m := range mounts {
		version1 = version1 || m.FSType == "cgroup"
		if m.FSType == "cgroup2" {
			stray = append(stray, m.Mountpoint)
		}
	}
	for _, path := range stray {
		if !version1 {
			break
		}
		if err := unix.Unmount(path, 0); err != nil {
			return fmt.Errorf("unmount %s: %w", path, err)
		}
	}
	return nil
}
