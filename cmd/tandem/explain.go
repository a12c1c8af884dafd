package main

import (
	"github.com/spf13/cobra"

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
			p, err := vmm.Plan(r.spec(nil, blk.Open))
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
