package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// stops are all kinds that there are. It is filled by init, as its functions
// look at it.
var stops []stop

func init() {
	stops = []stop{
		{"uts", "clone(CLONE_NEWUTS)", "a host name", prepareUTS, insideUTS},
		{"pid", "clone(CLONE_NEWPID)", "process numbers", preparePID, insidePID},
		{"mnt", "clone(CLONE_NEWNS)", "a table of mounts", prepareMount, insideMount},
		{"net", "clone(CLONE_NEWNET)", "links, addresses, routes, ports", prepareNet, insideNet},
		{"ipc", "clone(CLONE_NEWIPC)", "System V shared memory, semaphores and queues, POSIX queues", prepareIPC, insideIPC},
		{"user", "clone(CLONE_NEWUSER)", "user numbers, and what root may do", prepareUser, insideUser},
		{"cgroup", "unshare(CLONE_NEWCGROUP)", "a root for the paths of cgroups", prepareCgroup, insideCgroup},
		{"time", "unshare(CLONE_NEWTIME), setns()", "clocks that count from the boot", prepareTime, insideTime},
	}
}

func nodeName() (string, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "", fmt.Errorf("uname: %w", err)
	}
	return unix.ByteSliceToString(name.Nodename[:]), nil
}

func prepareUTS(cmd *exec.Cmd) (*visitor, error) {
	cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWUTS
	before, err := nodeName()
	return &visitor{look: func(pid int) error {
		after, err := nodeName()
		if err != nil {
			return err
		}
		if before != after {
			return fmt.Errorf("the name outside was %s and is %s", before, after)
		}
		fmt.Println("  outside: uname says what it has said before")
		joined, err := nodeNameIn(pid)
		if err != nil {
			return err
		}
		fmt.Printf("  outside: a thread joins by setns(/proc/PID/ns/uts), and reads %s\n", joined)
		return nil
	}}, err
}

func insideUTS([]string) error {
	if err := unix.Sethostname([]byte("box")); err != nil {
		return fmt.Errorf("sethostname: %w", err)
	}
	name, err := nodeName()
	fmt.Printf("  inside: sethostname(box), and uname says %s\n", name)
	return err
}

func preparePID(cmd *exec.Cmd) (*visitor, error) {
	cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWPID
	return &visitor{look: func(pid int) error {
		numbers, err := status(pid, "NSpid")
		fmt.Printf("  outside: /proc/PID/status has NSpid %s, a number for each namespace\n", numbers)
		return err
	}}, nil
}

func insidePID([]string) error {
	fmt.Printf("  inside: getpid() is %d, getppid() is %d\n", os.Getpid(), os.Getppid())
	return nil
}

func prepareMount(cmd *exec.Cmd) (*visitor, error) {
	cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWNS
	dir, err := os.MkdirTemp("", "lesson")
	if err != nil {
		return nil, err
	}
	cmd.Args = append(cmd.Args, dir)
	return &visitor{
		look: func(pid int) error {
			entries, err := os.ReadDir(dir)
			if err != nil {
				return err
			}
			theirs, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
			if err != nil {
				return err
			}
			ours, err := os.ReadFile("/proc/self/mountinfo")
			if err != nil {
				return err
			}
			fmt.Printf("  outside: files there: %d; mountinfo has the folder: theirs %t, ours %t\n", len(entries),
				strings.Contains(string(theirs), dir), strings.Contains(string(ours), dir))
			return nil
		},
		leave: func() error { return os.Remove(dir) },
	}, nil
}

func insideMount(args []string) error {
	dir := args[0]
	// A new mount namespace is a copy, and each mount in it a peer of the one
	// that it was copied from: systemd makes them shared, and then a mount
	// below one appears at the other as well.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mount / private: %w", err)
	}
	fmt.Println("  inside: mount(/, MS_REC|MS_PRIVATE), or what comes next might be seen outside")
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount tmpfs on %s: %w", dir, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	fmt.Printf("  inside: mount(tmpfs) on a folder, write() a file; files there: %d\n", len(entries))
	return err
}

func prepareNet(cmd *exec.Cmd) (*visitor, error) {
	cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWNET
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	cmd.Args = append(cmd.Args, listener.Addr().String())
	return &visitor{
		look: func(int) error {
			_, err := net.Listen("tcp4", listener.Addr().String())
			if !errors.Is(err, unix.EADDRINUSE) {
				return fmt.Errorf("the port can be had twice: %w", err)
			}
			fmt.Println("  outside: that port is taken: a listener of ours has it")
			return nil
		},
		leave: listener.Close,
	}, nil
}

func insideNet(args []string) error {
	links, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, l := range links {
		if l.Flags&net.FlagLoopback != 0 { // a few modules put a link of theirs into each namespace
			fmt.Printf("  inside: %s, up %t\n", l.Name, l.Flags&net.FlagUp != 0)
		} else if l.Flags&net.FlagUp != 0 {
			return fmt.Errorf("%s is up, in a new network namespace", l.Name)
		}
	}
	if _, err := net.Dial("tcp4", args[0]); !errors.Is(err, unix.ENETUNREACH) {
		return fmt.Errorf("connect to %s: %w, want %w", args[0], err, unix.ENETUNREACH)
	}
	fmt.Println("  inside: connect() to a listener outside, on 127.0.0.1: network is unreachable")
	listener, err := net.Listen("tcp4", "0.0.0.0"+args[0][strings.IndexByte(args[0], ':'):])
	if err != nil {
		return err
	}
	fmt.Println("  inside: its port is free, bind() and listen() succeed")
	return listener.Close()
}

// segmentKey is a name that two programs would agree on.
const segmentKey = 0x7461_6e64

func prepareIPC(cmd *exec.Cmd) (*visitor, error) {
	cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWIPC
	return &visitor{look: func(int) error {
		if _, err := unix.SysvShmGet(segmentKey, 0, 0); !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("shmget: %w, want %w", err, unix.ENOENT)
		}
		fmt.Println("  outside: shmget() with the same key: no such file or directory")
		return nil
	}}, nil
}

// insideIPC leaves its segment to the namespace, which takes it along when it
// ends.
func insideIPC([]string) error {
	id, err := unix.SysvShmGet(segmentKey, 4096, unix.IPC_CREAT|unix.IPC_EXCL|0o600)
	if err != nil {
		return fmt.Errorf("shmget: %w", err)
	}
	fmt.Printf("  inside: shmget() with a key makes shared memory, its id is %d\n", id)
	return nil
}

// rootOutside is who root inside is. 100000 is where distributions begin the
// ranges in /etc/subuid.
const rootOutside = 100000

func prepareUser(cmd *exec.Cmd) (*visitor, error) {
	cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWUSER
	// os/exec writes uid_map and gid_map while the child waits.
	maps := []syscall.SysProcIDMap{{ContainerID: 0, HostID: rootOutside, Size: 1}}
	cmd.SysProcAttr.UidMappings, cmd.SysProcAttr.GidMappings = maps, maps
	cmd.SysProcAttr.GidMappingsEnableSetgroups = true
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 0, Gid: 0}
	return &visitor{look: func(pid int) error {
		uid, err := status(pid, "Uid")
		fmt.Printf("  outside: /proc/PID/status has Uid %s\n", uid)
		return err
	}}, nil
}

func insideUser([]string) error {
	effective, err := status(os.Getpid(), "CapEff")
	if err != nil {
		return err
	}
	last, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(last)))
	if err != nil {
		return err
	}
	all := fmt.Sprintf("%016x", uint64(1)<<(n+1)-1)
	fmt.Printf("  inside: getuid() is %d; has it all capabilities? %t\n", os.Getuid(), effective == all)
	if err := unix.Sethostname([]byte("box")); !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("sethostname: %w, want %w", err, unix.EPERM)
	}
	fmt.Println("  inside: sethostname(box): operation not permitted: the UTS namespace is not owned by this user namespace")
	return nil
}

// status reads one line of /proc/PID/status.
func status(pid int, key string) (string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, key+":"); ok {
			return strings.Join(strings.Fields(value), " "), nil
		}
	}
	return "", fmt.Errorf("/proc/%d/status has no %s", pid, key)
}
