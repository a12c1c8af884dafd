package main

import "github.com/spf13/cobra"

func newVMCommand() *cobra.Command {
	return newGroupCommand("vm", "Run microVMs", newVMRunCommand(), newVMLsCommand(), newVMStopCommand(), newVMPauseCommand(),
		newVMResumeCommand(), newVMNetCommand(), newVMDiskCommand(), newVMBalloonCommand())
}
