package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"tandem/cmd/tandem/internal/box"
	"tandem/cmd/tandem/internal/card"
	"tandem/cmd/tandem/internal/elsewhere"
	"tandem/internal/plan"
	"tandem/virtio/blk"
	"tandem/vmm"
)

func newExplainCommand() *cobra.Command {
	explain := newGroupCommand("explain", "Print what a command would ask of the kernel, and why",
		newExplainBoxCommand(),
		newGroupCommand("vm", "Explain verbs of tandem vm", newExplainVMRunCommand()))
	explain.Long = "Print what a command would ask of the kernel, and why: each ioctl and system call, in order.\n" +
		"Nothing of it is done, so no root and no KVM is needed."
	return explain
}

func newExplainVMRunCommand() *cobra.Command {
	var f vmRunFlags
	cmd := &cobra.Command{
		Use:     "run [flags] [--] [COMMAND [ARG...]]",
		Short:   "Print what vm run would do, with the same flags",
		Example: "  tandem explain vm run --cpus 2 --disk a.img",
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := prepareRun(cmd, &f, args)
			if err != nil {
				return err
			}
			p, err := explainRun(cmd.Context(), r)
			if err != nil {
				return specFlagError(err)
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), p)
			}
			return p.WriteText(cmd.OutOrStdout())
		},
	}
	f.register(cmd.Flags())
	cmd.Flags().Lookup("json").Usage = "print JSON, for programs"
	return cmd
}

// explainRun is the plan of a run: what its network cards take of the host, and then the machine.
func explainRun(ctx context.Context, r *recipe) (*plan.Plan, error) {
	spec := r.spec(nil, blk.Open)
	home, err := box.Open()
	if err != nil && len(r.Cards) > 0 {
		return nil, err
	}
	var before []plan.Phase
	for i, c := range r.Cards {
		opt := card.Options{Machine: r.Name, State: filepath.Join(home.Run, networkFolder), Ports: r.Publish}
		phases, device, err := card.Explain(ctx, i, c, opt, r.Transport)
		if err != nil {
			return nil, err
		}
		before = append(before, phases...)
		spec.Devices = append(spec.Devices, device)
		spec.SharedMemory = spec.SharedMemory || c.Path == card.VhostUser
	}
	nobody := func(string, error) {}
	for i, d := range r.Elsewhere {
		spec.SharedMemory = true
		spec.Devices = append(spec.Devices, d.Machine(ctx, fmt.Sprintf("vhost-user%d", i), r.Transport, nobody))
	}
	r.plugVsock(&spec, nil, nobody)
	for _, s := range r.Shares {
		spec.SharedMemory = true
		d := elsewhere.Device{Kind: elsewhere.FS, Tag: s.Tag}
		device := d.Machine(ctx, "share "+s.Tag, r.Transport, nobody)
		device.Source = "virtiofsd for " + s.Source
		spec.Devices = append(spec.Devices, device)
	}
	p, err := vmm.Plan(spec)
	if err != nil {
		return nil, err
	}
	p.Phases = append(before, p.Phases...)
	return p, nil
}
