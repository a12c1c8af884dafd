package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// work is a process in a group: it waits for a line, does its job and tells how that went.
func work(job string) int {
	in := bufio.NewReader(os.Stdin)
	if _, err := in.ReadString('\n'); err != nil {
		return 1
	}
	words := strings.Fields(job)
	switch words[0] {
	case "wait": // until there is no more to read
		fmt.Println("waits")
		in.ReadString(0)
	case "spin":
		fmt.Println("spins")
		for {
			runtime.Gosched()
		}
	case "hog":
		hog()
	case "grow":
		held := make([]byte, 8<<20)
		for i := range held {
			held[i] = 1
		}
		fmt.Println("has", len(held))
		in.ReadString(0)
		runtime.KeepAlive(held)
	case "fork": // so many, or until it fails
		n, err := strconv.Atoi(words[1])
		if err != nil {
			fmt.Println(err)
			return 1
		}
		fork(n)
	case "bomb":
		bomb()
	case "access":
		access(words[1:])
	case "affinity":
		var set unix.CPUSet
		if err := unix.SchedGetaffinity(0, &set); err != nil {
			fmt.Println(err)
		}
		fmt.Println(set.Count())
	case "huge":
		const flags = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_HUGETLB
		memory, err := unix.Mmap(-1, 0, 2<<20, unix.PROT_READ|unix.PROT_WRITE, flags)
		if err == nil {
			memory[0] = 1
		}
		fmt.Println(errno(err))
	case "read":
		readDirect(words[1])
	case "realtime":
		err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
		fmt.Println(errno(err))
		in.ReadString(0)
	case "rootless":
		rootless(words[1])
	}
	return 0
}

func errno(err error) string {
	var e syscall.Errno
	if errors.As(err, &e) {
		return unix.ErrnoName(e)
	}
	if err != nil {
		return err.Error()
	}
	return "ok"
}

// hog takes memory until it is killed, or has 256 MiB.
func hog() {
	var held [][]byte
	for range 256 {
		page := make([]byte, 1<<20)
		for i := 0; i < len(page); i += 4096 {
			page[i] = 1
		}
		held = append(held, page)
	}
	fmt.Println("has", len(held), "MiB")
}

// fork starts processes until that fails, or there are so many.
func fork(many int) {
	for n := range many {
		if err := exec.Command("/bin/sleep", "600").Start(); err != nil {
			fmt.Println(n, errno(err))
			return
		}
	}
	fmt.Println(many, "ok")
}

// bomb forks for as long as it lives.
func bomb() {
	fmt.Println("bombs")
	for {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = []string{workerVariable + "=bomb"}
		in, err := cmd.StdinPipe()
		if err == nil && cmd.Start() == nil {
			in.Write([]byte("\n"))
		}
	}
}

// access does to devices what words such as "c:1:3:rw" say, each on a node of its own, and prints EPERM or not.
func access(words []string) {
	for i, word := range words {
		parts := strings.Split(word, ":")
		mode := uint32(unix.S_IFCHR)
		if parts[0] == "b" {
			mode = unix.S_IFBLK
		}
		major, _ := strconv.Atoi(parts[1])
		minor, _ := strconv.Atoi(parts[2])
		// The node is made by the parent where the access is not to make one.
		path := fmt.Sprintf("%s/%d", os.TempDir(), i)
		var err error
		switch parts[3] {
		case "m":
			err = unix.Mknod(path, mode|0o600, int(unix.Mkdev(uint32(major), uint32(minor))))
		default:
			flags := map[string]int{"r": unix.O_RDONLY, "w": unix.O_WRONLY, "rw": unix.O_RDWR}[parts[3]]
			var fd int
			if fd, err = unix.Open(path, flags|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err == nil {
				unix.Close(fd)
			}
		}
		fmt.Println(errors.Is(err, unix.EPERM))
	}
}

// readDirect reads a megabyte from a device without the cache's help.
func readDirect(path string) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	buffer, err := unix.Mmap(-1, 0, 64<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	total := 0
	for err == nil && total < 1<<20 {
		var n int
		if n, err = unix.Read(fd, buffer); n == 0 {
			break
		}
		total += n
	}
	fmt.Println(total, errno(err))
}

// rootless is what an engine does for a user who may not write to any group.
func rootless(path string) {
	host, err := Detect()
	if err != nil {
		fmt.Println(err)
		return
	}
	p, err := ParsePath(path, "")
	if err != nil {
		fmt.Println(err)
		return
	}
	g, err := New(host, p, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	before := g.Access()
	_, err = try(g.Create())
	fmt.Println(errors.Is(before, ErrNotPermitted), errors.Is(err, ErrNotPermitted))
}
