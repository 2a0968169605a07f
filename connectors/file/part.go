package file

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
)

// A part is the text of records on its way from the encoder, through the checkpoint, to the writer:
//
//	byte 1                      the version of this form
//	uvarint n, n bytes          the form as JSON
//	frames, each:
//	  uvarint n, n bytes        the directory below that of the sink, "" without partition_by
//	  uvarint n, n bytes        records, each: uvarint length, text
//
// An empty part has no records, and not even a version. The form travels with the text, because a flow may have been edited between a
// crash and the commit of what the checkpoint holds: then it is written as it was encoded.
const partVersion = 1

// form is what is in a file besides its records.
type form struct {
	// Ext is the end of the file's name, before that of the compression.
	Ext string `json:"ext"`
	// Head begins a file, Between comes between two records, Tail ends it.
	Head    string `json:"head,omitempty"`
	Between string `json:"between,omitempty"`
	Tail    string `json:"tail,omitempty"`
}

// append begins a part with a form.
func (f form) append(dst []byte) []byte {
	text, err := json.Marshal(f)
	if err != nil {
		panic(err) // four strings
	}
	return appendBytes(append(dst, partVersion), text)
}

func appendBytes[B ~[]byte | ~string](dst []byte, b B) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// lengthSize is the size of a uvarint that is written before its value is known.
const lengthSize = 5

// putLength writes n into lengthSize bytes, as a uvarint with leading zeros at its end.
func putLength(dst []byte, n int) {
	for i := range dst {
		dst[i] = byte(n>>(7*i)) | 0x80
	}
	dst[len(dst)-1] &^= 0x80
}

var errPart = errors.New("a part of the checkpoint is damaged")

// readPart gives the records of a part, in order.
func readPart(part []byte, each func(f form, dir string, text []byte) error) error {
	if len(part) == 0 {
		return nil
	}
	if part[0] != partVersion {
		return fmt.Errorf("%w: its form has version %d, this program knows %d", errPart, part[0], partVersion)
	}
	header, rest, err := cutBytes(part[1:])
	if err != nil {
		return err
	}
	var f form
	if err := json.Unmarshal(header, &f); err != nil {
		return fmt.Errorf("%w: %w", errPart, err)
	}
	for len(rest) > 0 {
		var dir, records, text []byte
		if dir, rest, err = cutBytes(rest); err != nil {
			return err
		}
		if records, rest, err = cutBytes(rest); err != nil {
			return err
		}
		name := string(dir)
		for len(records) > 0 {
			if text, records, err = cutBytes(records); err != nil {
				return err
			}
			if err := each(f, name, text); err != nil {
				return err
			}
		}
	}
	return nil
}

func cutBytes(data []byte) (b, rest []byte, err error) {
	n, used := binary.Uvarint(data)
	if used <= 0 || n > uint64(len(data)-used) {
		return nil, nil, errPart
	}
	return data[used : used+int(n)], data[used+int(n):], nil
}
