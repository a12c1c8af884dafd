//go:build never

// Package deps keeps the modules in go.mod while packages are being written.
package deps

import (
	_ "github.com/bobuhiro11/gokvm/kvm"
	_ "github.com/containerd/console"
	_ "github.com/containerd/ttrpc"
	_ "github.com/hashicorp/yamux"
	_ "github.com/klauspost/compress/zstd"
	_ "github.com/moby/sys/mountinfo"
	_ "github.com/pierrec/lz4/v4"
	_ "github.com/spf13/cobra"
	_ "github.com/ulikunitz/xz"
	_ "github.com/xi2/xz"
	_ "golang.org/x/sync/errgroup"
	_ "golang.org/x/sys/unix"
	_ "golang.org/x/term"
	_ "golang.org/x/tools/go/packages"
	_ "google.golang.org/protobuf/proto"
)
