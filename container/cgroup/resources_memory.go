package cgroup

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"
)

const memoryField = resources + "memory."

// memory resolves the specification's section "Memory". Sizes are bytes, -1 is no limit, and 0 is a field that was left
// out, as runc and the engines above it have it: nothing runs in 0 bytes.
func (v *resolver) memory(m *specs.LinuxMemory) {
	if m == nil {
		return
	}
	limit := v.size("limit", m.Limit)
	reservation := v.size("reservation", m.Reservation)
	swap := v.size("swap", m.Swap)
	tcp := v.size("kernelTCP", m.KernelTCP)
	if v.checkSwap(limit, swap) != nil {
		return
	}
	//lint:ignore SA1019 it is deprecated, which is what its user is told
	if m.Kernel != nil {
		v.warn(memoryField + "kernel has no effect: a limit of its own for the kernel's memory is gone since Linux 5.16")
	}
	if m.UseHierarchy != nil && !*m.UseHierarchy {
		v.warn(memoryField + "useHierarchy false has no effect: groups below this one count towards its limit, always")
	}
	if m.Swappiness != nil && *m.Swappiness > 100 {
		v.bad(memoryField+"swappiness", *m.Swappiness, "from 0 to 100")
	}
	killer := m.DisableOOMKiller != nil && *m.DisableOOMKiller
	if limit == 0 && reservation == 0 && swap == 0 && tcp == 0 && m.Swappiness == nil && m.DisableOOMKiller == nil {
		return
	}
	switch v.version("memory", "memory", memoryField+"limit") {
	case 1:
		v.memory1(m, limit, reservation, swap, tcp)
	case 2:
		if tcp > 0 {
			v.cannot(memoryField+"kernelTCP", tcp, "version 2 counts the buffers of sockets towards limit")
		}
		if m.Swappiness != nil {
			v.cannot(memoryField+"swappiness", *m.Swappiness,
				"version 2 has none for a group, only for the host (vm.swappiness)")
		}
		if killer {
			v.cannot(memoryField+"disableOOMKiller", true,
				"version 2 always kills; memory.high (in unified) slows a group down before")
		}
		v.memory2(m, limit, reservation, swap)
	}
}

// size checks a number of bytes. What is wrong counts as left out.
func (v *resolver) size(name string, bytes *int64) int64 {
	if bytes == nil {
		return 0
	}
	if *bytes < -1 {
		v.bad(memoryField+name, *bytes, "a size in bytes, or -1 for no limit")
		return 0
	}
	return *bytes
}

// checkSwap holds the limit of memory and swap together to be no smaller than that of memory.
func (v *resolver) checkSwap(limit, swap int64) error {
	var err error
	switch {
	case swap > 0 && limit > swap:
		err = invalid(memoryField+"swap", swap, "is memory and swap together, and cannot be below the limit of %d", limit)
	case swap > 0 && limit < 0:
		err = invalid(memoryField+"swap", swap, "is memory and swap together, and there is no limit of memory")
	}
	if err != nil {
		v.fail(err)
	}
	return err
}

func (v *resolver) memory1(m *specs.LinuxMemory, limit, reservation, swap, tcp int64) {
	add := func(file, value, name, why string) *setting {
		v.add(setting{version: 1, controller: "memory", file: file, value: value, field: memoryField + name, why: why})
		return &v.list[len(v.list)-1]
	}
	text := func(n int64) string { return strconv.FormatInt(n, 10) }
	if m.UseHierarchy != nil && *m.UseHierarchy {
		add("memory.use_hierarchy", "1", "useHierarchy", "groups below this one count towards its limit").optional = true
	}
	both := setting{
		version: 1, controller: "memory", file: "memory.memsw.limit_in_bytes", value: text(swap),
		field: memoryField + "swap", why: "memory and swap together",
		lacking: "this kernel does not count swap (swapaccount=0, or built without)",
	}
	if swap == 0 && limit < 0 { // it would hold the limit down
		both.value, both.why, both.optional = "-1", "no limit of memory, so none of memory and swap", true
		swap = -1
	}
	if limit != 0 {
		s := add("memory.limit_in_bytes", text(limit), "limit", "beyond it the kernel reclaims, and then kills")
		s.hint = hintUsage
		if swap != 0 {
			s.partner = &both
		}
	}
	if swap != 0 {
		v.add(both)
	}
	if reservation != 0 {
		add("memory.soft_limit_in_bytes", text(reservation), "reservation",
			"reclaimed down to it first when the host runs short")
	}
	if tcp != 0 {
		s := add("memory.kmem.tcp.limit_in_bytes", text(tcp), "kernelTCP", "buffers of TCP sockets")
		s.lacking = "gone from this kernel"
	}
	if m.Swappiness != nil && *m.Swappiness <= 100 {
		add("memory.swappiness", strconv.FormatUint(*m.Swappiness, 10), "swappiness",
			"how soon memory of processes goes to swap, rather than that of files")
	}
	if m.DisableOOMKiller != nil {
		value, why := "0", "kill a process when memory runs out"
		if *m.DisableOOMKiller {
			value, why = "1", "processes wait when memory runs out, nobody is killed"
		}
		add("memory.oom_control", value, "disableOOMKiller", why)
	}
}

func (v *resolver) memory2(m *specs.LinuxMemory, limit, reservation, swap int64) {
	add := func(file, value, name, why string) *setting {
		v.add(setting{version: 2, controller: "memory", file: file, value: value, field: memoryField + name, why: why})
		return &v.list[len(v.list)-1]
	}
	if limit != 0 {
		s := add("memory.max", bytesOrMax(limit), "limit", "beyond it the kernel reclaims, and then kills")
		if m.CheckBeforeUpdate != nil && *m.CheckBeforeUpdate && limit > 0 {
			s.compute = func(f folder) (string, error) {
				return bytesOrMax(limit), checkUsage(f, limit)
			}
		}
	}
	if swap == 0 && limit < 0 {
		swap = -1
	}
	if swap != 0 {
		s := add("memory.swap.max", swapAlone(swap, limit), "swap",
			"version 2 limits swap alone: memory and swap, less memory")
		s.lacking = "this kernel does not count swap"
		s.optional = s.value == noLimit || s.value == "0" // there is none to be limited
		if swap > 0 && limit == 0 {
			s.compute = func(f folder) (string, error) { return swapFromMax(f, swap) }
		}
	}
	if reservation != 0 {
		add("memory.low", bytesOrMax(reservation), "reservation",
			"not reclaimed below it while there is other memory to be had")
	}
}

func bytesOrMax(n int64) string {
	if n < 0 {
		return noLimit
	}
	return strconv.FormatInt(n, 10)
}

// swapAlone is the specification's limit of memory and swap together, less that of memory.
func swapAlone(both, memory int64) string {
	if both < 0 {
		return noLimit
	}
	return strconv.FormatInt(both-memory, 10)
}

// swapFromMax is swapAlone for an update that leaves the limit of memory as it is.
func swapFromMax(f folder, both int64) (string, error) {
	text, err := readFile(f.file("memory.max"))
	if err != nil {
		return "", err
	}
	memory, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || memory > both {
		return "", fmt.Errorf("%w: is memory and swap together, and the limit of memory is %s",
			ErrInvalid, strings.TrimSpace(text))
	}
	return swapAlone(both, memory), nil
}

// checkUsage is the specification's checkBeforeUpdate: version 1 refuses a limit that is below what is used and cannot
// be reclaimed, version 2 kills instead.
func checkUsage(f folder, limit int64) error {
	used, err := readUint(f.file("memory.current"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if limit >= 0 && used > uint64(limit) {
		return fmt.Errorf("%w: below the %d bytes that are used (checkBeforeUpdate)", ErrInvalid, used)
	}
	return nil
}

// hintUsage says how much is used when the kernel refuses to go below it.
func hintUsage(s setting, f folder, err error) error {
	if !errors.Is(err, syscall.EBUSY) {
		return err
	}
	used, usedErr := readUint(f.file("memory.usage_in_bytes"))
	if usedErr != nil {
		return err
	}
	return fmt.Errorf("%w: %d bytes are used and cannot be reclaimed", err, used)
}
