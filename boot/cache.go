package boot

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// A cache folder holds
//
//	<sha256 of the contents>.elf   an unpacked kernel, written once, never changed
//	<sha256 of a path>.json        a record: the kernel at that path unpacks to that .elf
//
// A start must not read 50 MB to know that a cached kernel is the right one, so a record identifies both files by
// what the kernel's file system tells of them: device, inode, size, time of last write and time of last change. The
// last one cannot be set by anybody, and everything that changes contents or name sets it. It is only as fine as the
// clock's tick though: a file that was changed twice within one looks the same after the second time. So a record
// vouches only for a kernel that had been left alone for a while when its contents were read; else they are hashed
// again, and the record renewed. (git keeps its index right in the same way.)

// settled is how long a file must have been left alone before its contents were read. It is far above any file system's
// granularity but FAT's, whose two seconds it equals.
const settled = 2 * time.Second

// record is the contents of a .json file.
type record struct {
	Kernel   string    `json:"kernel"` // absolute path
	KernelID fileID    `json:"kernel_id"`
	Digest   string    `json:"digest"`  // of the kernel's contents, sha256
	Checked  time.Time `json:"checked"` // when reading them began
	ELF      string    `json:"elf"`     // digest of the unpacked kernel, sha256
	ELFID    fileID    `json:"elf_id"`
}

// cache is a cache folder, for the kernel at one path.
type cache struct {
	dir  string
	path string // of the kernel, absolute
}

func openCache(dir, kernel string) (*cache, error) {
	path, err := filepath.Abs(kernel)
	if err != nil {
		return nil, err
	}
	return &cache{dir, path}, os.MkdirAll(dir, 0o700)
}

func (c *cache) recordPath() string {
	name := sha256.Sum256([]byte(c.path))
	return filepath.Join(c.dir, hex.EncodeToString(name[:])+recordSuffix)
}

func (c *cache) elfPath(digest string) string { return filepath.Join(c.dir, digest+elfSuffix) }

const (
	recordSuffix = ".json"
	elfSuffix    = ".elf"
	tempPrefix   = ".tmp-"
)

// lookup returns the unpacked kernel that the record vouches for, or nil. It reads k's contents only if the record
// cannot tell.
func (c *cache) lookup(k *Kernel) (*os.File, error) {
	rec, ok := c.readRecord()
	if !ok {
		return nil, nil
	}
	id, err := identify(k.file)
	if err != nil {
		return nil, err
	}
	renewed := rec
	if id != rec.KernelID || !id.settledBefore(rec.Checked) {
		renewed.KernelID, renewed.Checked = id, time.Now()
		if digest, err := hashFile(k.file); err != nil || digest != rec.Digest {
			return nil, err
		}
	}
	elf, err := c.openELF(&renewed)
	if err != nil || elf == nil {
		return nil, err
	}
	if renewed != rec {
		// Renewing saves the next start time. It can wait if it fails: this one has what it needs.
		_ = c.writeRecord(renewed)
	}
	return elf, nil
}

// openELF opens the file that rec names, after a look at whether it is still the one that was written, and renews rec
// if only its looks have changed (a restored backup).
func (c *cache) openELF(rec *record) (*os.File, error) {
	file, err := os.Open(c.elfPath(rec.ELF))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	id, err := identify(file)
	if err == nil && id != rec.ELFID {
		var digest string
		if digest, err = hashFile(file); err == nil && digest != rec.ELF {
			file.Close()
			return nil, nil
		}
		rec.ELFID = id
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// readRecord returns the record for the kernel, if there is one that can be read. One that can't is as good as none:
// it will be written anew.
func (c *cache) readRecord() (rec record, ok bool) {
	rec, err := loadRecord(c.recordPath())
	return rec, err == nil && rec.Kernel == c.path
}

func loadRecord(path string) (rec record, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return rec, err
	}
	if err := json.Unmarshal(b, &rec); err != nil {
		return rec, err
	}
	if sum, err := hex.DecodeString(rec.ELF); err != nil || len(sum) != sha256.Size { // it becomes part of a path
		return rec, fmt.Errorf("%s: digest %q", path, rec.ELF)
	}
	return rec, nil
}

func (c *cache) writeRecord(rec record) error {
	b, err := json.MarshalIndent(rec, "", "\t")
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(c.dir, tempPrefix)
	if err != nil {
		return err
	}
	_, err = temp.Write(append(b, '\n'))
	if err = errors.Join(err, temp.Close()); err == nil {
		err = os.Rename(temp.Name(), c.recordPath())
	}
	if err != nil {
		os.Remove(temp.Name())
	}
	return err
}

// keep gives temp, an unpacked kernel, its final name, and writes the record for rec's kernel. It returns the file in
// the cache, opened for reading.
func (c *cache) keep(temp *os.File, rec record) (*os.File, error) {
	// Else a crash of the machine could leave a name with other contents behind it, and a record that vouches for them.
	if err := temp.Sync(); err != nil {
		return nil, err
	}
	if err := temp.Chmod(0o444); err != nil {
		return nil, err
	}
	// What may lie there already, put there by another process or damaged, is replaced: who maps it keeps what he has.
	if err := os.Rename(temp.Name(), c.elfPath(rec.ELF)); err != nil {
		return nil, err
	}
	file, err := os.Open(c.elfPath(rec.ELF)) // for reading only
	if err != nil {
		return nil, err
	}
	if rec.ELFID, err = identify(file); err == nil { // after the rename, which is a change
		err = c.writeRecord(rec)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// hashFile returns the SHA-256 of all of the file, whatever its offset, which it leaves as it is.
func hashFile(f *os.File) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, 1<<63-1)); err != nil {
		return "", fmt.Errorf("hash %s: %w", f.Name(), err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
