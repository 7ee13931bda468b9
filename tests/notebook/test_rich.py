"""Tables, heat maps, curves and graphs."""

import json
import unittest
import xml.etree.ElementTree as xml

from tinytorch_kernel import rich


def shown(**data):
    return rich.bundle(json.dumps(data))


def tensor(sizes, values, kind="tensor", dtype="float32", title=""):
    return shown(kind=kind, title=title, dtype=dtype, sizes=sizes, values=values)


class Rich(unittest.TestCase):
    def test_a_matrix_is_a_table(self):
        data = tensor([2, 2], [1, 2.5, "nan", "-inf"])
        self.assertEqual(data["text/plain"].splitlines(), ["[2, 2] float32", "   1   2.5", " nan  -inf"])
        self.assertIn("<tr><td>1</td><td>2.5</td></tr><tr><td>nan</td><td>-inf</td></tr>", data["text/html"])

    def test_scalars_vectors_and_batches(self):
        self.assertEqual(tensor([], [3], dtype="int64")["text/plain"], "[] int64 3")
        self.assertIn("<tr><td>1</td><td>2</td><td>3</td></tr>", tensor([3], [1, 2, 3])["text/html"])
        self.assertIn("[1]", tensor([2, 1, 1], [7, 8])["text/plain"])
        self.assertIn("[0]", tensor([0], [])["text/plain"])

    def test_large_tensors_are_cut(self):
        html = tensor([100, 100], list(range(4096)))["text/html"]
        self.assertEqual(html.count("<tr>"), rich.ROWS + 1)
        self.assertEqual(html.count("&hellip;"), rich.ROWS)

    def test_texts_are_escaped(self):
        self.assertIn("&lt;b&gt;", tensor([1], [1], title="<b>")["text/html"])

    def test_a_heat_map_has_a_square_for_each_element(self):
        picture = xml.fromstring(tensor([2, 3], [-1, 0, 1, "nan", 0.5, -0.5], kind="heat_map")["image/svg+xml"])
        squares = picture.findall(".//{*}rect")
        self.assertEqual([square.get("fill") for square in squares[:4]], ["#3b4cc0", "#f7f7f7", "#b40426", "#000000"])

    def test_curves(self):
        data = shown(kind="plot", title="loss", x_label="step", y_label="", series=[{"name": "a", "x": [], "y": [3, 2, "nan", 1]}])
        picture = xml.fromstring(data["image/svg+xml"])
        self.assertEqual(len(picture.findall(".//{*}polyline")), 1)
        self.assertEqual(len(picture.findall(".//{*}circle")), 1)
        self.assertIn("a: 4 points, the last (3, 1)", data["text/plain"])

    def test_curves_without_anything_to_draw(self):
        for series in ([], [{"name": "", "x": [], "y": []}], [{"name": "", "x": [], "y": ["nan"]}]):
            self.assertEqual(list(shown(kind="plot", title="", x_label="", y_label="", series=series)), ["text/plain"])
        self.assertIn("image/svg+xml", shown(kind="plot", title="", x_label="", y_label="", series=[{"name": "", "x": [], "y": [1, 1]}]))

    def test_ticks_are_round(self):
        self.assertEqual(rich.ticks(0, 10), [0, 2, 4, 6, 8, 10])
        self.assertEqual([round(tick, 3) for tick in rich.ticks(0.013, 0.027)], [0.015, 0.02, 0.025])

    def test_a_graph_names_its_nodes_and_edges(self):
        data = shown(kind="graph", title="", nodes=[{"name": "MulBackward0", "sizes": "[2]"}, {"name": "torch::autograd::AccumulateGrad", "sizes": ""}],
                     edges=[[0, 1], [0, 1]], left_out=0)
        self.assertIn("0 MulBackward0 [2] -> 1 -> 1", data["text/plain"])
        self.assertIn("\n1 AccumulateGrad", data["text/plain"])
        if "image/svg+xml" in data:
            self.assertIn("AccumulateGrad", data["image/svg+xml"])

    def test_nonsense_is_said_to_be_nonsense(self):
        for line in ("{", "[]", '{"kind":"cake"}', '{"kind":"tensor"}', '{"kind":"tensor","title":"","dtype":"float32","sizes":[],"values":[]}'):
            self.assertIn("cannot be read", rich.bundle(line)["text/plain"])


if __name__ == "__main__":
    unittest.main()
