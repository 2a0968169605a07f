package checkpoint_test

import (
	"encoding/binary"
	"flag"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/activedataflow/adf/engine/checkpoint"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
)

var update = flag.Bool("update", false, "write the golden file of the present version, if there is none")

// every has something in every field of a version.
func every(version uint32) *adfv1.Checkpoint {
	newest := int64(1_357_034_400_000)
	r := func(blob string, offset int64) *adfv1.BlobRange {
		return &adfv1.BlobRange{Blob: blob, Offset: offset, Length: 1000, Crc: 0xdeadbeef}
	}
	return &adfv1.Checkpoint{
		PositionsOnly: version >= 2,
		Version:       version, Flow: "flights", Run: "20130101-1234", Epoch: 42, SavedAtMs: 1_357_000_000_000, PlanDigest: "sha256:0123", Claim: true,
		Finished: true, FinishedAtMs: 1_357_000_000_001,
		Sources: []*adfv1.SourceState{{
			Node: "flights", EnumeratorVersion: 1, Enumerator: []byte(`{"known":["a.csv"]}`),
			Splits: []*adfv1.ReadState{
				{Id: "a.csv", Version: 1, Data: []byte(`{"offset":10}`), NewestMs: &newest},
				{Id: "b.csv", Version: 1, Data: []byte(`{}`)},
			},
		}},
		Keyed: []*adfv1.KeyedState{{Node: "per_day", Buckets: 128, Logs: []*adfv1.BucketState{
			{Bucket: 0, Log: []*adfv1.BlobRange{r("state-0000000001-0123456789abcdef", 0), r("state-0000000001-fedcba9876543210", 1000)}},
			{Bucket: 127, Log: []*adfv1.BlobRange{r("state-0000000001-0123456789abcdef", 1000)}},
		}}},
		Sinks: []*adfv1.SinkState{{
			Node: "out", Shards: []*adfv1.ShardState{{Shard: 3, Run: "20130101-1234", NextSeq: 8}},
			Pending: []*adfv1.Committable{{Run: "20121231-0000", Shard: 3, From: 5, Parts: []*adfv1.Part{
				{Content: &adfv1.Part_Value{Value: []byte("records")}},
				{Content: &adfv1.Part_Blob{Blob: r("parts-0000000001-0123456789abcdef", 0)}},
				{Content: &adfv1.Part_Value{}},
			}}},
		}},
	}
}

// TestGolden reads what every released version has written, and writes it as it was.
func TestGolden(t *testing.T) {
	for version := uint32(1); version <= checkpoint.Version; version++ {
		t.Run(fmt.Sprint(version), func(t *testing.T) { golden(t, version) })
	}
}

func golden(t *testing.T, version uint32) {
	path := filepath.Join("testdata", fmt.Sprintf("checkpoint-v%d.bin", version))
	content, err := checkpoint.Encode(every(version))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); *update && os.IsNotExist(err) { // what was written once is never written anew
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := checkpoint.Decode(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(got, every(version)) {
		t.Errorf("version %d is read as\n%s", version, prototext.Format(got))
	}
	if string(golden) != string(content) {
		t.Errorf("the form of version %d has changed: a new form needs a new version", version)
	}
}

// forged has a right checksum around any message.
func forged(body []byte) []byte {
	c := append([]byte("ADFC\x00\x00\x00\x00"), body...)
	binary.LittleEndian.PutUint32(c[4:], crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
	return c
}

func TestDecodeRefuses(t *testing.T) {
	good, err := checkpoint.Encode(every(checkpoint.Version))
	if err != nil {
		t.Fatal(err)
	}
	version := func(v uint32) []byte {
		c, err := checkpoint.Encode(&adfv1.Checkpoint{Version: v})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, c := range []struct {
		content []byte
		want    string
	}{
		{nil, "this is not a checkpoint"},
		{[]byte("ADFC123"), "this is not a checkpoint"},
		{[]byte("{\"epoch\": 1}"), "this is not a checkpoint"},
		{good[:len(good)-1], "checksum does not match"},
		{append(good[:len(good):len(good)], 0), "checksum does not match"},
		{forged([]byte{0xff}), "proto"},
		{version(0), "got version 0 of the checkpoint form, want at most 2: it was saved by another release"},
		{version(3), "got version 3 of the checkpoint form, want at most 2: it was saved by another release"},
	} {
		if _, err := checkpoint.Decode(c.content); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.20q: got %v, want %q", c.content, err, c.want)
		}
	}
	for i := range good { // no bit can change
		for bit := range 8 {
			good[i] ^= 1 << bit
			if _, err := checkpoint.Decode(good); err == nil {
				t.Fatalf("bit %d of byte %d changed, and nobody saw it", bit, i)
			}
			good[i] ^= 1 << bit
		}
	}
}

func FuzzDecode(f *testing.F) {
	good, err := checkpoint.Encode(every(checkpoint.Version))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[8:])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, content := range [][]byte{data, forged(data)} {
			cp, err := checkpoint.Decode(content)
			if err != nil {
				continue
			}
			again, err := checkpoint.Encode(cp)
			if err != nil {
				t.Fatal(err)
			}
			same, err := checkpoint.Decode(again)
			if err != nil || !proto.Equal(cp, same) {
				t.Fatalf("what was decoded came back changed: %v", err)
			}
		}
	})
}
