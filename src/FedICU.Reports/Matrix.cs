using System.Buffers.Binary;
using System.Text.Json;

namespace FedICU.Reports;

/// <summary>Numbers of rows and columns as the page carries them: float32 in base64, NaN where there is none.</summary>
internal sealed class Matrix
{
    private readonly float[] _values;
    private readonly int _columns;

    public Matrix(int rows, int columns)
    {
        _columns = columns;
        _values = new float[rows * columns];
        Array.Fill(_values, float.NaN);
    }

    public float this[int row, int column]
    {
        get => _values[row * _columns + column];
        set => _values[row * _columns + column] = value;
    }

    /// <summary>Gets whether any number is there.</summary>
    public bool HasValues => Array.Exists(_values, value => !float.IsNaN(value));

    public ReadOnlySpan<float> Row(int row) => _values.AsSpan(row * _columns, _columns);

    public void Write(Utf8JsonWriter json, string name)
    {
        byte[] bytes = new byte[_values.Length * sizeof(float)];
        for (int i = 0; i < _values.Length; i++)
            BinaryPrimitives.WriteSingleLittleEndian(bytes.AsSpan(i * sizeof(float)), _values[i]);
        json.WriteBase64String(name, bytes);
    }
}
