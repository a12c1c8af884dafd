package main

import (
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
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
			if r != nil {
				if err := c.Update(cmd.Context(), r); err != nil {
					return err
				}
			}
			if lines := f.schemata(); len(lines) > 0 {
				return c.UpdateIntelRdt(lines...)
			}
			return nil
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
	flags.StringVar(&f.l3Cache, "l3-cache-schema", "", "the parts of the L3 caches, as \"L3:0=ff;1=ff\": for a container with linux.intelRdt")
	flags.StringVar(&f.memBW, "mem-bw-schema", "", "the memory bandwidth, as \"MB:0=20;1=70\": likewise")
	flags.StringVar(&f.kernel, "kernel-memory", "", "without effect, as in Linux since 5.4")
	flags.StringVar(&f.kernelTCP, "kernel-memory-tcp", "", "without effect")
	_, _ = flags.MarkHidden("kernel-memory"), flags.MarkHidden("kernel-memory-tcp")
}

// schemata are the lines for the container's class of service, the cache before the bandwidth.
func (f *updateFlags) schemata() []string {
	return slices.DeleteFunc([]string{f.l3Cache, f.memBW}, func(line string) bool { return line == "" })
}

// read is what is to change of the cgroup, or nil.
func (f *updateFlags) read(cmd *cobra.Command) (*specs.LinuxResources, error) {
	if f.file == "" {
		r := f.resources.changed(cmd.Flags())
		if r == nil && len(f.schemata()) == 0 {
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
