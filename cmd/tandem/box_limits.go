package main

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"tandem/cmd/tandem/internal/box"
)

// boxLimitFlags are the flags that `tandem run` and `tandem update` share: what can be changed while a container runs.
type boxLimitFlags struct {
	limits                    box.Limits
	memory, swap, reservation sizeValue
	swapText, restart         string
	cpuQuota, cpuPeriod       int64
}

// usualPeriod is the kernel's, in microseconds.
const usualPeriod = 100_000

func (f *boxLimitFlags) register(flags *pflag.FlagSet) {
	l := &f.limits
	flags.VarP(&f.memory, "memory", "m", "limit of memory, in bytes or with K, M, G")
	flags.StringVar(&f.swapText, "memory-swap", "", "limit of memory and swap together, a `SIZE`, or -1 for as much swap as there is")
	flags.Var(&f.reservation, "memory-reservation", "what it is cut back to when the machine runs short of memory")
	flags.Float64Var(&l.CPUs, "cpus", 0, "limit of CPUs, such as 0.5")
	flags.Int64Var(&f.cpuQuota, "cpu-quota", 0, "the same as `MICROSECONDS` of each --cpu-period")
	flags.Int64Var(&f.cpuPeriod, "cpu-period", usualPeriod, "`MICROSECONDS` that --cpu-quota is of")
	flags.Uint64VarP(&l.CPUShares, "cpu-shares", "c", 0, "its share of busy CPUs, against 1024 that is usual")
	flags.StringVar(&l.CPUSet, "cpuset-cpus", "", "the `CPUS` that it may use, such as 0-2,4")
	flags.StringVar(&l.MemSet, "cpuset-mems", "", "the memory `NODES` that it may use")
	flags.Int64Var(&l.PidsLimit, "pids-limit", 0, "limit of processes and threads, -1 for none")
	flags.Uint16Var(&l.BlkioWeight, "blkio-weight", 0, "its share of busy disks, 10 to 1000")
	flags.StringVar(&f.restart, "restart", "no", "when its keeper starts it anew: `POLICY` is no, on-failure[:NUMBER], always or unless-stopped")
}

// settle gives what there was with what the flags say of it.
func (f *boxLimitFlags) settle(flags *pflag.FlagSet, l box.Limits, p box.RestartPolicy) (box.Limits, box.RestartPolicy, error) {
	for name, set := range map[string]func(){
		"memory":             func() { l.Memory = int64(f.memory) },
		"memory-reservation": func() { l.MemoryReservation = int64(f.reservation) },
		"cpus":               func() { l.CPUs = f.limits.CPUs },
		"cpu-shares":         func() { l.CPUShares = f.limits.CPUShares },
		"cpuset-cpus":        func() { l.CPUSet = f.limits.CPUSet },
		"cpuset-mems":        func() { l.MemSet = f.limits.MemSet },
		"pids-limit":         func() { l.PidsLimit = f.limits.PidsLimit },
		"blkio-weight":       func() { l.BlkioWeight = f.limits.BlkioWeight },
	} {
		if flags.Changed(name) {
			set()
		}
	}
	if flags.Changed("memory-swap") {
		l.MemorySwap = -1
		if f.swapText != "-1" {
			if err := f.swap.Set(f.swapText); err != nil {
				return l, p, fmt.Errorf("--memory-swap %q: %w, or -1", f.swapText, err)
			}
			l.MemorySwap = int64(f.swap)
		}
	}
	if flags.Changed("cpu-quota") {
		switch {
		case flags.Changed("cpus"):
			return l, p, errors.New("--cpus with --cpu-quota: say it in one way")
		case f.cpuQuota <= 0:
			return l, p, flagError("cpu-quota", fmt.Sprint(f.cpuQuota), "want 1 or more")
		case f.cpuPeriod <= 0:
			return l, p, flagError("cpu-period", fmt.Sprint(f.cpuPeriod), "want 1 or more")
		}
		l.CPUs = float64(f.cpuQuota) / float64(f.cpuPeriod)
	} else if flags.Changed("cpu-period") {
		return l, p, errors.New("--cpu-period without --cpu-quota: of what?")
	}
	if flags.Changed("restart") {
		var err error
		if p, err = box.ParseRestart(f.restart); err != nil {
			return l, p, err
		}
	}
	return l, p, nil
}
