package main

import (
	"errors"
	"math/bits"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/pflag"
)

// resources are the limits that update has flags for.
type resources struct {
	memory, reservation, swap        sizeValue
	shares, period, rtPeriod         uint64
	quota, burst, rtRuntime, cpuIdle int64
	cpus, mems                       string
	pids                             int64
	weight                           uint16
}

func (r *resources) register(flags *pflag.FlagSet) {
	flags.Var(&r.memory, "memory", "at most so much memory, -1 for any")
	flags.Var(&r.reservation, "memory-reservation", "so much memory is left to it where others have more than theirs")
	flags.Var(&r.swap, "memory-swap", "at most so much memory and swap together, -1 for any")
	flags.Uint64Var(&r.shares, "cpu-share", 0, "the `WEIGHT` of its claim to processors: 2 to 262144, 1024 is usual")
	flags.Int64Var(&r.quota, "cpu-quota", 0, "at most `USEC` microseconds of processors in each period, -1 for any")
	flags.Uint64Var(&r.period, "cpu-period", 0, "the length of the period, `USEC` microseconds")
	flags.Int64Var(&r.burst, "cpu-burst", 0, "save up to `USEC` microseconds of the quota for later periods")
	flags.Uint64Var(&r.rtPeriod, "cpu-rt-period", 0, "the period of real-time processes, `USEC` microseconds")
	flags.Int64Var(&r.rtRuntime, "cpu-rt-runtime", 0, "the quota of real-time processes, `USEC` microseconds")
	flags.Int64Var(&r.cpuIdle, "cpu-idle", 0, "`1` to run when nobody else wants to, 0 not so")
	flags.StringVar(&r.cpus, "cpuset-cpus", "", "run on these processors alone: a `LIST` like 0-3,7")
	flags.StringVar(&r.mems, "cpuset-mems", "", "take memory of these nodes alone: a `LIST` like 0,1")
	flags.Int64Var(&r.pids, "pids-limit", 0, "at most `N` processes and threads, -1 for any")
	flags.Uint16Var(&r.weight, "blkio-weight", 0, "the `WEIGHT` of its claim to block devices: 10 to 1000")
}

// changed are the limits whose flags were given; nil if none was.
func (r *resources) changed(flags *pflag.FlagSet) *specs.LinuxResources {
	var l specs.LinuxResources
	memory, cpu := &specs.LinuxMemory{}, &specs.LinuxCPU{}
	any := false
	flags.Visit(func(f *pflag.Flag) {
		switch f.Name {
		case "memory":
			l.Memory, memory.Limit = memory, (*int64)(&r.memory)
		case "memory-reservation":
			l.Memory, memory.Reservation = memory, (*int64)(&r.reservation)
		case "memory-swap":
			l.Memory, memory.Swap = memory, (*int64)(&r.swap)
		case "cpu-share":
			l.CPU, cpu.Shares = cpu, &r.shares
		case "cpu-quota":
			l.CPU, cpu.Quota = cpu, &r.quota
		case "cpu-period":
			l.CPU, cpu.Period = cpu, &r.period
		case "cpu-burst":
			burst := uint64(r.burst)
			l.CPU, cpu.Burst = cpu, &burst
		case "cpu-rt-period":
			l.CPU, cpu.RealtimePeriod = cpu, &r.rtPeriod
		case "cpu-rt-runtime":
			l.CPU, cpu.RealtimeRuntime = cpu, &r.rtRuntime
		case "cpu-idle":
			l.CPU, cpu.Idle = cpu, &r.cpuIdle
		case "cpuset-cpus":
			l.CPU, cpu.Cpus = cpu, r.cpus
		case "cpuset-mems":
			l.CPU, cpu.Mems = cpu, r.mems
		case "pids-limit":
			l.Pids = &specs.LinuxPids{Limit: &r.pids}
		case "blkio-weight":
			l.BlockIO = &specs.LinuxBlockIO{Weight: &r.weight}
		case "kernel-memory", "kernel-memory-tcp":
		default:
			return
		}
		any = true
	})
	if !any {
		return nil
	}
	return &l
}

// sizeValue is a flag's number of bytes: "65536", "512M", "4GiB", or "-1" for no limit.
type sizeValue int64

var errSize = errors.New("want a number of bytes, or one with K, M, G or T behind it, such as 512M, or -1")

// Set parses a size. The units are powers of 1024.
func (s *sizeValue) Set(text string) error {
	if text == "-1" {
		*s = -1
		return nil
	}
	number, shift := strings.ToUpper(text), 0
	number = strings.TrimSuffix(strings.TrimSuffix(number, "B"), "I")
	for i, unit := range []string{"K", "M", "G", "T"} {
		if rest, ok := strings.CutSuffix(number, unit); ok {
			number, shift = rest, 10*(i+1)
			break
		}
	}
	n, err := strconv.ParseUint(number, 10, 63)
	if err != nil || bits.Len64(n)+shift > 63 {
		return errSize
	}
	*s = sizeValue(n << shift)
	return nil
}

func (s *sizeValue) String() string { return strconv.FormatInt(int64(*s), 10) }

// Type names the value in the help.
func (*sizeValue) Type() string { return "SIZE" }
