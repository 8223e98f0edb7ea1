//! Writes ONNX files by hand: just enough protocol buffers for tests, independent of the reader under test.

/// One attribute.
pub enum Attribute {
    Int(i64),
    Float(f32),
    Text(&'static str),
    Ints(Vec<i64>),
    Floats(Vec<f32>),
    /// A graph without inputs: its nodes and outputs, and names of outer tensors where it reads them.
    Graph(Vec<Node>, &'static str),
    /// The attribute of this name of the function's call, of a kind by number (1: float, 2: int, 7: ints).
    Of(&'static str, u64),
}

/// A function of the model.
pub struct Function {
    /// Domain `own`, where calls name it.
    pub name: &'static str,
    /// Names separated by spaces.
    pub inputs: &'static str,
    pub outputs: &'static str,
    pub opset: i64,
    pub nodes: Vec<Node>,
    /// Attributes that calls must give.
    pub attributes: &'static str,
    /// Attributes that they may give.
    pub defaults: Vec<(&'static str, Attribute)>,
}

/// One node.
pub struct Node {
    op: String,
    pub name: String,
    pub domain: String,
    inputs: Vec<String>,
    outputs: Vec<String>,
    attributes: Vec<(String, Attribute)>,
}

impl Node {
    /// `inputs` and `outputs`: names separated by spaces; `-` is an input left out.
    pub fn new(op: &str, inputs: &str, outputs: &str) -> Node {
        let names = |s: &str| s.split_whitespace().map(|n| n.replace('-', "")).collect::<Vec<_>>();
        Node {
            op: op.to_owned(),
            name: String::new(),
            domain: String::new(),
            inputs: names(inputs),
            outputs: names(outputs),
            attributes: Vec::new(),
        }
    }

    pub fn named(mut self, name: &str) -> Node {
        self.name = name.to_owned();
        self
    }

    pub fn in_domain(mut self, domain: &str) -> Node {
        self.domain = domain.to_owned();
        self
    }

    pub fn with(mut self, key: &str, value: Attribute) -> Node {
        self.attributes.push((key.to_owned(), value));
        self
    }

    pub fn int(self, key: &str, value: i64) -> Node {
        self.with(key, Attribute::Int(value))
    }

    pub fn float(self, key: &str, value: f32) -> Node {
        self.with(key, Attribute::Float(value))
    }

    pub fn ints(self, key: &str, value: &[i64]) -> Node {
        self.with(key, Attribute::Ints(value.to_vec()))
    }

    pub fn floats(self, key: &str, value: &[f32]) -> Node {
        self.with(key, Attribute::Floats(value.to_vec()))
    }

    pub fn text(self, key: &str, value: &'static str) -> Node {
        self.with(key, Attribute::Text(value))
    }
}

/// A dimension of the input.
pub enum Dim {
    Fixed(i64),
    Symbol(&'static str),
}

/// A model with one input `x` and outputs that are named when it is written.
pub struct File {
    pub opset: i64,
    pub dims: Vec<Dim>,
    pub element_type: u64,
    nodes: Vec<Node>,
    tensors: Vec<Vec<u8>>,
    functions: Vec<Function>,
    metadata: Vec<(String, String)>,
    extra_inputs: Vec<String>,
    seed: u64,
}

impl File {
    pub fn new(opset: i64, dims: &[i64]) -> File {
        File {
            opset,
            dims: dims.iter().map(|d| Dim::Fixed(*d)).collect(),
            element_type: 1,
            nodes: Vec::new(),
            tensors: Vec::new(),
            functions: Vec::new(),
            metadata: Vec::new(),
            extra_inputs: Vec::new(),
            seed: 1,
        }
    }

    pub fn node(mut self, node: Node) -> File {
        self.nodes.push(node);
        self
    }

    pub fn function(mut self, function: Function) -> File {
        self.functions.push(function);
        self
    }

    pub fn metadata(mut self, key: &str, value: &str) -> File {
        self.metadata.push((key.to_owned(), value.to_owned()));
        self
    }

    pub fn second_input(mut self, name: &str) -> File {
        self.extra_inputs.push(name.to_owned());
        self
    }

    pub fn floats(mut self, name: &str, dims: &[i64], values: &[f32]) -> File {
        let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.tensors.push(tensor(name, dims, 1, &raw));
        self
    }

    pub fn integers(mut self, name: &str, values: &[i64]) -> File {
        let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.tensors.push(tensor(name, &[values.len() as i64], 7, &raw));
        self
    }

    /// A tensor of any type, by its number.
    pub fn typed(mut self, name: &str, dims: &[i64], kind: u64, raw: &[u8]) -> File {
        self.tensors.push(tensor(name, dims, kind, raw));
        self
    }

    /// Weights in double precision.
    pub fn doubles(self, name: &str, dims: &[i64], values: &[f64]) -> File {
        let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.typed(name, dims, 11, &raw)
    }

    /// One integer without an axis.
    pub fn scalar(mut self, name: &str, value: i64) -> File {
        self.tensors.push(tensor(name, &[], 7, &value.to_le_bytes()));
        self
    }

    /// Weights in another file: what the model says of the place.
    pub fn external(mut self, name: &str, dims: &[i64], place: &[(&str, &str)]) -> File {
        let mut t = Vec::new();
        dims.iter().for_each(|d| number(&mut t, 1, *d as u64));
        number(&mut t, 2, 1);
        field(&mut t, 8, name.as_bytes());
        for (key, value) in place {
            let mut entry = Vec::new();
            field(&mut entry, 1, key.as_bytes());
            field(&mut entry, 2, value.as_bytes());
            field(&mut t, 13, &entry);
        }
        number(&mut t, 14, 1);
        self.tensors.push(t);
        self
    }

    /// Weights in [-0.5, 0.5), the same in every run.
    pub fn random(mut self, name: &str, dims: &[i64]) -> File {
        let count = dims.iter().product::<i64>() as usize;
        let values = random(count, self.seed);
        self.seed += 1;
        self.floats(name, dims, &values)
    }

    /// As [`File::random`], positive.
    pub fn positive(mut self, name: &str, dims: &[i64]) -> File {
        let count = dims.iter().product::<i64>() as usize;
        let values: Vec<f32> = random(count, self.seed).iter().map(|v| v + 1.0).collect();
        self.seed += 1;
        self.floats(name, dims, &values)
    }

    /// The file; outputs separated by spaces.
    pub fn bytes(&self, outputs: &str) -> Vec<u8> {
        let mut graph = Vec::new();
        self.nodes.iter().for_each(|n| field(&mut graph, 1, &node(n)));
        field(&mut graph, 2, b"test");
        self.tensors.iter().for_each(|t| field(&mut graph, 5, t));
        field(&mut graph, 11, &value_info("x", self.element_type, Some(&self.dims)));
        let extra = |name: &String| value_info(name, 1, Some(&[Dim::Fixed(1), Dim::Fixed(1)]));
        self.extra_inputs.iter().for_each(|name| field(&mut graph, 11, &extra(name)));
        outputs.split_whitespace().for_each(|o| field(&mut graph, 12, &value_info(o, 1, None)));
        let mut model = Vec::new();
        number(&mut model, 1, 8);
        field(&mut model, 7, &graph);
        let mut opset = Vec::new();
        number(&mut opset, 2, self.opset as u64);
        field(&mut model, 8, &opset);
        for (key, value) in &self.metadata {
            let mut entry = Vec::new();
            field(&mut entry, 1, key.as_bytes());
            field(&mut entry, 2, value.as_bytes());
            field(&mut model, 14, &entry);
        }
        self.functions.iter().for_each(|f| field(&mut model, 25, &function(f)));
        model
    }
}

/// Numbers in [-0.5, 0.5) from a small linear generator.
pub fn random(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u32 << 24) as f32 - 0.5
    };
    (0..count).map(|_| next()).collect()
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn number(out: &mut Vec<u8>, tag: u64, value: u64) {
    varint(out, tag << 3);
    varint(out, value);
}

fn field(out: &mut Vec<u8>, tag: u64, bytes: &[u8]) {
    varint(out, tag << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn tensor(name: &str, dims: &[i64], kind: u64, raw: &[u8]) -> Vec<u8> {
    let mut t = Vec::new();
    dims.iter().for_each(|d| number(&mut t, 1, *d as u64));
    number(&mut t, 2, kind);
    field(&mut t, 8, name.as_bytes());
    field(&mut t, 9, raw);
    t
}

fn value_info(name: &str, kind: u64, dims: Option<&[Dim]>) -> Vec<u8> {
    let mut tensor = Vec::new();
    number(&mut tensor, 1, kind);
    if let Some(dims) = dims {
        let mut shape = Vec::new();
        for dim in dims {
            let mut one = Vec::new();
            match dim {
                Dim::Fixed(d) => number(&mut one, 1, *d as u64),
                Dim::Symbol(name) => field(&mut one, 2, name.as_bytes()),
            }
            field(&mut shape, 1, &one);
        }
        field(&mut tensor, 2, &shape);
    }
    let mut kind = Vec::new();
    field(&mut kind, 1, &tensor);
    let mut info = Vec::new();
    field(&mut info, 1, name.as_bytes());
    field(&mut info, 2, &kind);
    info
}

fn node(node: &Node) -> Vec<u8> {
    let mut n = Vec::new();
    node.inputs.iter().for_each(|i| field(&mut n, 1, i.as_bytes()));
    node.outputs.iter().for_each(|o| field(&mut n, 2, o.as_bytes()));
    field(&mut n, 3, node.name.as_bytes());
    field(&mut n, 4, node.op.as_bytes());
    for (key, value) in &node.attributes {
        field(&mut n, 5, &attribute(key, value));
    }
    field(&mut n, 7, node.domain.as_bytes());
    n
}

fn attribute(key: &str, value: &Attribute) -> Vec<u8> {
    let mut a = Vec::new();
    field(&mut a, 1, key.as_bytes());
    let kind = match value {
        Attribute::Float(f) => {
            varint(&mut a, 2 << 3 | 5);
            a.extend_from_slice(&f.to_le_bytes());
            1
        }
        Attribute::Int(i) => {
            number(&mut a, 3, *i as u64);
            2
        }
        Attribute::Text(s) => {
            field(&mut a, 4, s.as_bytes());
            3
        }
        Attribute::Ints(list) => {
            list.iter().for_each(|i| number(&mut a, 8, *i as u64));
            7
        }
        Attribute::Floats(list) => {
            for value in list {
                varint(&mut a, 7 << 3 | 5);
                a.extend_from_slice(&value.to_le_bytes());
            }
            6
        }
        Attribute::Graph(nodes, outputs) => {
            let mut graph = Vec::new();
            nodes.iter().for_each(|n| field(&mut graph, 1, &node(n)));
            outputs.split_whitespace().for_each(|o| field(&mut graph, 12, &value_info(o, 1, None)));
            field(&mut a, 6, &graph);
            5
        }
        Attribute::Of(name, kind) => {
            field(&mut a, 21, name.as_bytes());
            *kind
        }
    };
    number(&mut a, 20, kind);
    a
}

fn function(function: &Function) -> Vec<u8> {
    let mut f = Vec::new();
    field(&mut f, 1, function.name.as_bytes());
    for (tag, list) in [(4, function.inputs), (5, function.outputs), (6, function.attributes)] {
        list.split_whitespace().for_each(|name| field(&mut f, tag, name.as_bytes()));
    }
    function.nodes.iter().for_each(|n| field(&mut f, 7, &node(n)));
    let mut opset = Vec::new();
    number(&mut opset, 2, function.opset as u64);
    field(&mut f, 9, &opset);
    field(&mut f, 10, b"own");
    function.defaults.iter().for_each(|(key, value)| field(&mut f, 11, &attribute(key, value)));
    f
}
