package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"tandem/boot/store"
)

func newKernelCommand() *cobra.Command {
	return newGroupCommand("kernel", "Get and keep the kernels that guests boot",
		newKernelPullCommand(),
		newKernelListCommand(),
		newKernelImportCommand(),
		newKernelRemoveCommand(),
		newKernelDefaultCommand(),
	)
}

func newKernelPullCommand() *cobra.Command {
	var lab bool
	cmd := &cobra.Command{
		Use:   "pull [PACKAGE]",
		Short: "Get a kernel from the distribution's packages",
		Long: "Downloads a kernel with apt, which verifies it, and unpacks it into tandem's cache. Nothing is installed, and no root is needed.\n" +
			"PACKAGE is " + store.GuestPackage + " if it is not given.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			pkg := store.GuestPackage
			switch {
			case lab && len(args) > 0:
				return fmt.Errorf("--lab stands for the package %s, so it takes no PACKAGE", store.LabPackage)
			case lab:
				pkg = store.LabPackage
			case len(args) > 0:
				pkg = args[0]
			}
			s, err := store.Open("")
			if err != nil {
				return err
			}
			p := newKernelProgress(cmd)
			k, err := s.Pull(cmd.Context(), pkg, p.show)
			return p.finish(cmd.OutOrStdout(), k, err)
		},
	}
	cmd.Flags().BoolVar(&lab, "lab", false, "get the kernel of tandem's lab ("+store.LabPackage+")")
	return cmd
}

func newKernelImportCommand() *cobra.Command {
	var name, modules string
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Keep a kernel of yours: a bzImage, a vmlinux or a .deb",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := store.Open("")
			if err != nil {
				return err
			}
			p := newKernelProgress(cmd)
			k, err := s.Import(cmd.Context(), args[0], name, modules, p.show)
			return p.finish(cmd.OutOrStdout(), k, err)
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "call it `NAME` (default: its release, as uname -r tells)")
	cmd.Flags().StringVar(&modules, "modules", "", "its modules, a `DIR` like /lib/modules/RELEASE")
	return cmd
}

func newKernelListCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the kernels",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := store.Open("")
			if err != nil {
				return err
			}
			kernels, err := s.List()
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), append([]store.Kernel{}, kernels...)) // [] and not null
			}
			return printKernels(cmd.OutOrStdout(), kernels)
		},
	}
	addJSONFlag(cmd, &asJSON)
	return cmd
}

func printKernels(w io.Writer, kernels []store.Kernel) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tRELEASE\tSIZE\tMODULES\tDIGEST\tADDED\tFROM")
	for _, k := range kernels {
		name, modules := k.Name, "no"
		if k.Default {
			name += " *"
		}
		if k.Modules != "" {
			modules = "yes"
		}
		from := k.Package
		if from == "" {
			from = k.Source
		}
		fmt.Fprintf(t, "%s\t%s\t%.1f MiB\t%s\t%.19s\t%s\t%s\n",
			name, k.Release, float64(k.Size)/(1<<20), modules, k.Digest, k.Added.Local().Format("2006-01-02 15:04"), from)
	}
	return t.Flush()
}

func newKernelRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "rm NAME...",
		Aliases: []string{"remove"},
		Short:   "Remove kernels",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := store.Open("")
			if err != nil {
				return err
			}
			for _, name := range args {
				if err := s.Remove(name); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "removed %s\n", name)
			}
			return nil
		},
	}
}

func newKernelDefaultCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "default [NAME]",
		Short: "Show or choose the kernel that vm run boots",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := store.Open("")
			if err != nil {
				return err
			}
			if len(args) == 1 {
				return s.SetDefault(args[0])
			}
			k, err := s.Get("")
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), k.Name)
			return nil
		},
	}
}

// kernelProgress shows steps in place on a terminal, and elsewhere each step once, as a line.
type kernelProgress struct {
	line *status
	log  io.Writer
	last string
}

func newKernelProgress(cmd *cobra.Command) *kernelProgress {
	return &kernelProgress{line: newStatus(cmd), log: cmd.ErrOrStderr()}
}

func (p *kernelProgress) show(step string, done, total int64) {
	if p.line.terminal != nil {
		p.line.progress(step, done, total)
		return
	}
	if step != p.last {
		fmt.Fprintln(p.log, step)
		p.last = step
	}
}

// finish prints what came of it.
func (p *kernelProgress) finish(w io.Writer, k store.Kernel, err error) error {
	p.line.done()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s (%s)\n", k.Name, k.Source)
	return err
}
