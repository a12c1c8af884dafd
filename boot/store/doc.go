// Package store keeps guest kernels with their modules in the user's cache folder.
//
// A guest needs a kernel's image, and modules that were built with it: the kernel refuses others. Distributions ship
// both in one package, signed, updated, and with a cloud variant that boots fast under a monitor. So tandem builds no
// kernel; it takes the distribution's, without root and without installing it:
//
//	apt's signed index                                          TANDEM_CACHE or ~/.cache/tandem
//	  linux-image-cloud-amd64 ──depends──► linux-image-6.1.0-56-cloud-amd64     kernels/
//	                                         │ apt-get download                   .lock      flock(2): one writer
//	                                         │ size and sha256 as in the index    .default   what SetDefault chose
//	                                         ▼                                    6.1.0-56-cloud-amd64/
//	                                       *.deb ──dpkg-deb──► tar ──► .new-123/    kernel.json
//	                                                                   │            vmlinuz, config
//	                                              md5sums, bounds,     │            modules/lib/modules/RELEASE/...
//	                                              os.Root, depmod      └─ rename ─►
//
// Trust goes one way along that line: apt checks the index against the distribution's key and the package against the
// index; the store checks the package once more, the files against the package, and believes no name in it. Names that
// lead out, links, doubled files, archives that end early or unpack to too much are refused, and a failed pull leaves
// nothing.
//
// A kernel becomes visible by the rename of a finished folder, after it has reached the disk, and disappears by a
// rename too. So readers take no lock; writers take one, and clear away what a writer that died has left.
//
// Debian makes modules.dep when a package is installed, and this one never is: the store does it by itself (package
// kmod).
package store
