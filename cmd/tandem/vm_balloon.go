package main

import (
	"fmt"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tandem/cmd/tandem/internal/machine"
	"tandem/virtio/balloon"
)

func newVMBalloonCommand() *cobra.Command {
	var asJSON bool
	var target sizeValue
	cmd := &cobra.Command{
		Use:   "balloon NAME [flags]",
		Short: "Show or set how much of its memory a VM has given back",
		Long: "Shows the balloon of a VM that was run with --balloon, what the guest says of its memory, and how much memory of\n" +
			"the host it holds. --set asks the guest for a balloon of another size; the guest takes its time, and takes memory back\n" +
			"by itself when it has none left.",
		Example: "  tandem vm run --name web --memory 1G --balloon 0\n  tandem vm balloon web --set 400M\n  tandem vm balloon web",
		Args:    theOne("VM"),
		RunE: func(cmd *cobra.Command, args []string) error {
			registry, err := vmRegistry()
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("set") {
				change := machine.BalloonTarget{Target: uint64(target)}
				if err := registry.Call(cmd.Context(), args[0], http.MethodPut, "/balloon", change, nil); err != nil {
					return err
				}
			}
			var info machine.BalloonInfo
			if err := registry.Call(cmd.Context(), args[0], http.MethodGet, "/balloon", nil, &info); err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), info)
			}
			return printBalloon(cmd, &info)
		},
	}
	cmd.Flags().Var(&target, "set", "ask the guest for a balloon of this size; 0 gives all memory back to it")
	addJSONFlag(cmd, &asJSON)
	return cmd
}

func printBalloon(cmd *cobra.Command, info *machine.BalloonInfo) error {
	t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
	line := func(name string, bytes uint64, note string) {
		fmt.Fprintf(t, "%s\t%.1f MiB\t%s\n", name, float64(bytes)/(1<<20), note)
	}
	line("target", info.Target, "the balloon's size as it is wanted")
	line("actual", info.Actual, "and as the guest says it is")
	line("resident", info.Resident, "memory of the host, of the VM's process")
	line("given back", info.Inflated, "to the host, by the balloon, since the start")
	line("reported", info.Reported, "to the host, as free, since the start")
	for _, odd := range []struct {
		name  string
		bytes uint64
		note  string
	}{
		{"kept", info.Kept, "reported as free, but the guest relies on what is in it"},
		{"failed", info.Failed, "which the host did not take"},
		{"refused", info.Refused * balloon.PageSize, "which is not the guest's memory"},
	} {
		if odd.bytes > 0 {
			line(odd.name, odd.bytes, odd.note)
		}
	}
	if info.Statistics == nil {
		fmt.Fprintln(t, "guest\t-\tit gives no statistics")
		return t.Flush()
	}
	age := "in the guest"
	if d := time.Since(info.Statistics.Time); d > 2*time.Second {
		age += fmt.Sprintf(", %v ago", d.Round(time.Second))
	}
	for _, tag := range []balloon.Tag{balloon.TotalMemory, balloon.AvailableMemory, balloon.FreeMemory, balloon.DiskCaches} {
		if v, ok := info.Statistics.Values[tag]; ok {
			line(tag.String(), v, age)
		}
	}
	return t.Flush()
}
