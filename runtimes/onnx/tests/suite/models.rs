//! Small ONNX models, made with rten's own writer of the format.

use std::cell::RefCell;

use rten_onnx::onnx::{
    AttributeProto, AttributeType, DataType, Dimension, GraphProto, ModelProto, NodeProto,
    OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto, TypeProtoTensor, ValueInfoProto,
};

pub(crate) fn model(graph: GraphProto) -> Vec<u8> {
    let opset = OperatorSetIdProto { version: Some(17), ..Default::default() };
    let model = ModelProto {
        ir_version: Some(8),
        graph: Some(graph),
        opset_import: vec![opset],
        ..Default::default()
    };
    model.write_buf().unwrap()
}

/// An input or output; -1 becomes a symbol.
pub(crate) fn value(name: &str, datatype: DataType, shape: &[i64]) -> ValueInfoProto {
    let dim = shape.iter().map(|&size| match size {
        -1 => Dimension { dim_param: Some("n".into()), ..Default::default() },
        size => Dimension { dim_value: Some(size), ..Default::default() },
    });
    let tensor =
        TypeProtoTensor { elem_type: Some(datatype), shape: Some(TensorShapeProto { dim: dim.collect() }) };
    let tensor_type = TypeProto { tensor_type: Some(tensor), sequence: None };
    ValueInfoProto { name: Some(name.into()), r#type: Some(tensor_type) }
}

pub(crate) fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        name: Some(format!("{op} {output}")),
        op_type: Some(op.into()),
        input: inputs.iter().map(ToString::to_string).collect(),
        output: vec![output.into()],
        ..Default::default()
    }
}

pub(crate) fn weights(name: &str, dims: &[i64], elements: &[f32]) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        dims: dims.to_vec(),
        data_type: Some(DataType::FLOAT),
        raw_data: Some(RefCell::new(bytemuck::cast_slice(elements).to_vec())),
        ..Default::default()
    }
}

fn integers(name: &str, elements: &[i64]) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        ints: elements.to_vec(),
        r#type: Some(AttributeType::INTS),
        ..Default::default()
    }
}

/// A graph of one node over one datatype.
fn one_node(op: &str, inputs: &[&str], datatype: DataType, shape: &[i64]) -> Vec<u8> {
    model(GraphProto {
        input: inputs.iter().map(|name| value(name, datatype, shape)).collect(),
        output: vec![value("y", datatype, shape)],
        node: vec![node(op, inputs, "y")],
        ..Default::default()
    })
}

pub(crate) fn identity(datatype: DataType, shape: &[i64]) -> Vec<u8> {
    one_node("Identity", &["x"], datatype, shape)
}

pub(crate) fn add(datatype: DataType, shape: &[i64]) -> Vec<u8> {
    one_node("Add", &["a", "b"], datatype, shape)
}

/// BOOL in, BOOL out.
pub(crate) fn not(shape: &[i64]) -> Vec<u8> {
    one_node("Not", &["x"], DataType::BOOL, shape)
}

/// From one datatype to another.
pub(crate) fn cast(from: DataType, to: DataType, shape: &[i64]) -> Vec<u8> {
    let to_attribute = AttributeProto {
        name: Some("to".into()),
        i: Some(to.0.into()),
        r#type: Some(AttributeType::INT),
        ..Default::default()
    };
    model(GraphProto {
        input: vec![value("x", from, shape)],
        output: vec![value("y", to, shape)],
        node: vec![NodeProto { attribute: vec![to_attribute], ..node("Cast", &["x"], "y") }],
        ..Default::default()
    })
}

/// A 3x3 convolution without padding, then ReLU, over [n, 1, 4, 4].
pub(crate) fn conv_relu(kernel: &[f32; 9], bias: f32) -> Vec<u8> {
    let attribute = vec![integers("kernel_shape", &[3, 3]), integers("strides", &[1, 1])];
    let conv = NodeProto { attribute, ..node("Conv", &["x", "w", "b"], "c") };
    model(GraphProto {
        input: vec![value("x", DataType::FLOAT, &[-1, 1, 4, 4])],
        output: vec![value("y", DataType::FLOAT, &[-1, 1, 2, 2])],
        initializer: vec![weights("w", &[1, 1, 3, 3], kernel), weights("b", &[1], &[bias])],
        node: vec![conv, node("Relu", &["c"], "y")],
        ..Default::default()
    })
}

/// Two outputs: the sum and the difference of two FP32 vectors.
pub(crate) fn sum_and_difference() -> Vec<u8> {
    model(GraphProto {
        input: vec![value("a", DataType::FLOAT, &[-1]), value("b", DataType::FLOAT, &[-1])],
        output: vec![value("sum", DataType::FLOAT, &[-1]), value("difference", DataType::FLOAT, &[-1])],
        node: vec![node("Add", &["a", "b"], "sum"), node("Sub", &["a", "b"], "difference")],
        ..Default::default()
    })
}

/// Many products of a square matrix: whole seconds of work if the matrix is large.
pub(crate) fn many_products(products: usize) -> Vec<u8> {
    let name = |n: usize| if n == 0 { "x".to_owned() } else { format!("p{n}") };
    model(GraphProto {
        input: vec![value("x", DataType::FLOAT, &[-1, -1])],
        output: vec![value(&name(products), DataType::FLOAT, &[-1, -1])],
        node: (0..products).map(|n| node("MatMul", &[&name(n), "x"], &name(n + 1))).collect(),
        ..Default::default()
    })
}
