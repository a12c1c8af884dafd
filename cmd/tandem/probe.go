package main

import (
	"github.com/spf13/cobra"

	"tandem/kvm/probe"
)

// statusNo is the exit status of a question whose answer is no.
const statusNo exitStatus = 1

func newProbeCommand() *cobra.Command {
	var asJSON, quiet bool
	cmd := &cobra.Command{
		Use:   "probe",
		Short: "Tell what KVM here can do, and whether it can run Linux",
		Long: "Tell what KVM here can do, and whether it can run Linux.\n\n" +
			"A KVM may be there and yet be too slow for Linux: one without hardware behind it interprets the guest's\n" +
			"kernel mode. So guests of a few bytes run, and are timed.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if quiet {
				return answer(probe.Quick().Linux)
			}
			report := probe.Run()
			if asJSON {
				return printJSON(cmd.OutOrStdout(), report)
			}
			return report.WriteText(cmd.OutOrStdout())
		},
	}
	addJSONFlag(cmd, &asJSON)
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print nothing; exit with 0 if Linux can run on this KVM, else with 1")
	return cmd
}

func answer(yes bool) error {
	if yes {
		return nil
	}
	return statusNo
}
