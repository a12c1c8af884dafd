// Package compress recognises how a stream is compressed, by its first bytes, and undoes it.
//
// The bytes come from anywhere, so what they may cost is bounded where the format lets them ask for it: zstd and xz
// name the size of a window that the reader has to keep in memory, up to gigabytes.
//
//	blob ──► magic? ──┬─ 1f 8b          gzip   ──┐
//	                  ├─ 28 b5 2f fd    zstd   ──┤
//	                  ├─ fd 37 7a 58    xz     ──┼──► a goroutine that reads and decompresses, ──► Read
//	                  ├─ 42 5a 68       bzip2  ──┤     a megabyte ahead of its reader
//	                  ├─ 04 22 4d 18    lz4    ──┤
//	                  └─ anything else  none   ──┘
//
// That goroutine is why whoever writes files does not wait for the decompressor, nor the other way round.
package compress
