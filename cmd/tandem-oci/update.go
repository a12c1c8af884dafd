package main

import (
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tandem/container"
)

func newUpdateCommand(g *global) *cobra.Command {
	var f updateFlags
	cmd := &cobra.Command{
		Use:   "update [flags] ID",
		Short: "Change a container's limits",
		Long: "Changes those of a container's limits that are named, by flags or by --resources: a JSON object like\n" +
			"linux.resources of config.json, whose flags are then left out of account. Sizes are bytes, or have a unit: 64M.",
		Example: "  tandem-oci update --memory 64M --pids-limit 50 web",
		Args:    arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := f.read(cmd)
			if err != nil {
				return err
			}
			c, err := g.load(args[0])
			if err != nil {
				return err
			}
			return c.Update(cmd.Context(), r)
		},
	}
	f.register(cmd.Flags())
	return cmd
}

type updateFlags struct {
	resources
	file, l3Cache, memBW, kernel, kernelTCP string
}

func (f *updateFlags) register(flags *pflag.FlagSet) {
	flags.StringVarP(&f.file, "resources", "r", "", "read the limits from `FILE`, or from stdin if it is -")
	f.resources.register(flags)
	flags.StringVar(&f.l3Cache, "l3-cache-schema", "", "Intel RDT's L3 cache schema: not supported")
	flags.StringVar(&f.memBW, "mem-bw-schema", "", "Intel RDT's memory bandwidth schema: not supported")
	flags.StringVar(&f.kernel, "kernel-memory", "", "without effect, as in Linux since 5.4")
	flags.StringVar(&f.kernelTCP, "kernel-memory-tcp", "", "without effect")
	_, _ = flags.MarkHidden("kernel-memory"), flags.MarkHidden("kernel-memory-tcp")
}

// read is what is to change.
func (f *updateFlags) read(cmd *cobra.Command) (*specs.LinuxResources, error) {
	if f.l3Cache != "" || f.memBW != "" {
		return nil, fmt.Errorf("--l3-cache-schema, --mem-bw-schema: Intel RDT: %w", container.ErrNotSupported)
	}
	if f.file == "" {
		r := f.resources.changed(cmd.Flags())
		if r == nil {
			return nil, usageError(cmd, "no limit is named")
		}
		return r, nil
	}
	var in io.Reader = cmd.InOrStdin()
	if f.file != "-" {
		file, err := os.Open(f.file)
		if err != nil {
			return nil, fmt.Errorf("--resources: %w", err)
		}
		defer file.Close()
		in = file
	}
	var r specs.LinuxResources
	if err := decode(in, &r); err != nil {
		return nil, fmt.Errorf("--resources %s: %w", f.file, err)
	}
	return &r, nil
}
