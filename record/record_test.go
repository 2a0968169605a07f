package record

import (
	"reflect"
	"testing"
)

type memory struct{ recycled int }

func (m *memory) Recycle() { m.recycled++ }

func TestDropKeepsTheRestInOrder(t *testing.T) {
	for _, c := range []struct {
		places []int
		want   []int
	}{{nil, []int{0, 1, 2, 3}}, {[]int{0}, []int{1, 2, 3}}, {[]int{1, 3}, []int{0, 2}}, {[]int{0, 1, 2, 3}, []int{}}} {
		var b Batch[int]
		for i := range 4 {
			b.Append(i, Meta{Position: int64(i)})
		}
		b.Drop(c.places)
		if !reflect.DeepEqual(b.Values, c.want) || len(b.Metas) != len(c.want) {
			t.Errorf("without %v: got %v", c.places, b.Values)
		}
		for i, v := range b.Values {
			if b.Metas[i].Position != int64(v) {
				t.Errorf("without %v: the metas are not those of the values", c.places)
			}
		}
	}
}

func TestResetRecyclesAndForgets(t *testing.T) {
	own := &memory{}
	b := Batch[*int]{Split: "a", Owned: own}
	b.Append(new(int), Meta{})
	b.Rejected = append(b.Rejected, Rejection{Raw: []byte("x")})
	values, rejected := b.Values, b.Rejected
	b.Reset()
	if b.Len() != 0 || len(b.Rejections()) != 0 || len(b.Meta()) != 0 || b.SplitID() != "" || own.recycled != 1 {
		t.Errorf("got %+v, recycled %d times", b, own.recycled)
	}
	if values[0] != nil || rejected[0].Raw != nil {
		t.Error("what was in the batch is kept from the garbage collector")
	}
}
