package boot

import "bytes"

// foreign are files that are given to a boot loader by mistake, by the bytes that they start with. Naming them saves
// the user a look with file(1).
var foreign = []struct {
	at    int
	magic string
	what  string
}{
	{4, "zimg", "an EFI zboot image, which unpacks itself under UEFI only"},
	{0x38, "ARM\x64", "a kernel for arm64"},
	{0x38, "RSC\x05", "a kernel for RISC-V"},
	{0, "MZ", "a UEFI program without a setup header (a unified kernel image?)"},
	{0, "\x27\x05\x19\x56", "a U-Boot image"},
	{0, "070701", "an initramfs (cpio archive)"},
	{0, "070702", "an initramfs (cpio archive)"},
	{0, "\x1f\x8b", "a gzip file"},
	{0, "\xfd7zXZ\x00", "an xz file"},
	{0, "BZh", "a bzip2 file"},
	{0, "\x28\xb5\x2f\xfd", "a zstd file"},
	{0, "\x04\x22\x4d\x18", "an lz4 file"},
	{0, "\x02\x21\x4c\x18", "an lz4 file"},
	{0, "!<arch>\n", "a Debian package or static library"},
	{0, "\xed\xab\xee\xdb", "an RPM package"},
	{0, "QFI\xfb", "a qcow2 disk image"},
	{0, "KDMV", "a VMDK disk image"},
	{0, "hsqs", "a squashfs image"},
	{0, "#!", "a script"},
}

// sniff names a file that is no kernel.
func sniff(head []byte) string {
	if len(head) == 0 {
		return "an empty file"
	}
	for _, f := range foreign {
		if len(head) > f.at && bytes.HasPrefix(head[f.at:], []byte(f.magic)) {
			return f.what
		}
	}
	if len(head) >= 512 && le.Uint16(head[offBootFlag:]) == bootFlag {
		return "a boot sector"
	}
	return "neither a bzImage nor an ELF file"
}
