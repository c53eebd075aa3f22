using System.Globalization;
using System.Numerics.Tensors;
using System.Text.Json;

namespace FedICU.Reports;

/// <summary>Writes what the page shows of one round: clients, matrices, layers, LoRA pairs, stages and notes.</summary>
internal sealed class RoundDetails(RoundSummary round, int index)
{
    private readonly RoundReport _report = round.Report;
    private readonly int[] _leads = new int[round.Rows.Count], _against = new int[round.Rows.Count];
    private int _weighted;

    private bool HasMatrices => (long)round.Rows.Count * round.Columns.Count <= ReportData.MostCells;

    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteNumber("round", index);
        Json.Names(json, "notes", HasMatrices ? _report.Notes : [.. _report.Notes, DescribeSize()]);
        WriteKept(json);
        if (!_report.IsPrivate)
        {
            WriteLayers(json);
            WriteClients(json);
            if (HasMatrices)
                WriteMatrices(json);
            WriteSimilarities(json);
            WritePairs(json);
            WriteStages(json);
        }

        json.WriteEndObject();
    }

    private string DescribeSize() => string.Create(CultureInfo.InvariantCulture,
        $"The page shows no heat map of {round.Rows.Count} clients by {round.Columns.Count} tensors: " +
        $"at most {ReportData.MostCells} cells are drawn.");

    private void WriteClients(Utf8JsonWriter json)
    {
        json.WriteNumber("weighted", _weighted);
        json.WriteStartArray("clients");
        foreach (ClientReport client in _report.Clients.DistinctBy(client => client.Id))
        {
            int row = round.Rows[client.Id];
            json.WriteStartObject();
            json.WriteString("name", DisplayName.Full(client.Id));
            json.WriteBoolean("included", client.Included);
            json.WriteBoolean("chosen", client.Chosen);
            Json.Text(json, "reason", client.Reason);
            Json.Number(json, "weight", client.Weight);
            Json.Number(json, "share", client.Share);
            json.WriteString("kind", DisplayName.Full(client.Kind));
            json.WriteNumber("sent", client.BytesSent);
            json.WriteNumber("full", client.BytesFull);
            json.WriteNumber("nonFinite", client.NonFinite);
            Json.Number(json, "cosine", round.Cosines[row]);
            Json.Number(json, "norm", round.UpdateNorms[row]);
            json.WriteNumber("leads", _leads[row]);
            json.WriteNumber("against", _against[row]);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    /// <summary>
    /// Writes the tensors whose old value was kept, with the reason. A reason may name a client: none in a private
    /// round.
    /// </summary>
    private void WriteKept(Utf8JsonWriter json)
    {
        json.WriteStartArray("kept");
        foreach (TensorReport tensor in _report.Tensors.Where(tensor => tensor.Reason is not null && !_report.IsPrivate))
        {
            json.WriteStartObject();
            json.WriteString("name", DisplayName.Full(tensor.Name));
            json.WriteString("rule", DisplayName.Full(tensor.Rule));
            Json.Text(json, "reason", tensor.Reason);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    /// <summary>Writes the tensors, and cosine, update norm and weight of each client in each of them.</summary>
    private void WriteMatrices(Utf8JsonWriter json)
    {
        int rows = round.Rows.Count, columns = round.Columns.Count;
        Matrix cosines = new(rows, columns), norms = new(rows, columns), weights = new(rows, columns);
        json.WriteStartArray("tensors");
        for (int column = 0; column < columns; column++)
        {
            TensorReport tensor = round.Columns[column];
            json.WriteStartObject();
            json.WriteString("name", DisplayName.Full(tensor.Name));
            json.WriteString("type", DisplayName.Full($"{tensor.DType} [{string.Join(", ", tensor.Shape)}]"));
            json.WriteString("rule", DisplayName.Full(tensor.Rule));
            json.WriteEndObject();
            foreach (TensorClientReport part in tensor.Clients)
            {
                if (!round.Rows.TryGetValue(part.Id, out int row))
                    continue;
                cosines[row, column] = (float)(part.Cosine ?? double.NaN);
                norms[row, column] = (float)(part.UpdateNorm ?? double.NaN);
                weights[row, column] = (float)(part.Weight ?? double.NaN);
            }
        }

        json.WriteEndArray();
        foreach ((string name, Matrix matrix) in (IEnumerable<(string, Matrix)>)[("cosine", cosines), ("norm", norms), ("weight", weights)])
        {
            if (matrix.HasValues)
                matrix.Write(json, name + "Values");
        }

        Matrix likeness = cosines.HasValues ? cosines : weights;
        if (likeness.HasValues && rows <= LikenessOrder.MostItems)
            Json.Numbers(json, "likeness", LikenessOrder.Of(rows, (a, b) => Distance(likeness.Row(a), likeness.Row(b))));
    }

    // the mean square difference over what both have; those that share nothing are far apart
    private static double Distance(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        double whole = TensorPrimitives.Distance(a, b);
        if (!double.IsNaN(whole))
            return whole * whole / a.Length;
        double sum = 0;
        int count = 0;
        for (int i = 0; i < a.Length; i++)
        {
            double difference = a[i] - b[i];
            if (double.IsNaN(difference))
                continue;
            sum += difference * difference;
            count++;
        }

        return count > 0 ? sum / count : double.MaxValue / 4;
    }

    /// <summary>
    /// Writes, for each client and layer, the number of weighted tensors that it leads and goes against.
    /// </summary>
    private void WriteLayers(Utf8JsonWriter json)
    {
        TensorReport[] tensors = [.. round.Columns.Where(_report.IsWeighted)];
        _weighted = tensors.Length;
        if (tensors.Length == 0)
            return;
        LayerGroups layers = LayerGroups.Of(tensors.Select(tensor => tensor.Name));
        bool isDrawn = (long)round.Rows.Count * layers.Names.Count <= ReportData.MostCells;
        int drawn = isDrawn ? layers.Names.Count : 0;
        Matrix leads = new(round.Rows.Count, drawn), against = new(round.Rows.Count, drawn);
        int[] sizes = new int[layers.Names.Count];
        for (int i = 0; i < tensors.Length; i++)
        {
            int layer = layers.Groups[i];
            sizes[layer]++;
            if (_report.FindLeader(tensors[i]) is { } leader && round.Rows.TryGetValue(leader.Id, out int leading))
            {
                if (isDrawn)
                    Count(leads, leading, layer);
                _leads[leading]++;
            }

            foreach (TensorClientReport part in tensors[i].Clients.Where(part => part.IsAgainst))
            {
                if (!round.Rows.TryGetValue(part.Id, out int row))
                    continue;
                if (isDrawn)
                    Count(against, row, layer);
                _against[row]++;
            }
        }

        if (!isDrawn)
            return;
        Json.Names(json, "layers", layers.Names);
        Json.Numbers(json, "layerSizes", sizes);
        leads.Write(json, "leadValues");
        against.Write(json, "againstValues");

        static void Count(Matrix counts, int row, int layer) =>
            counts[row, layer] = float.IsNaN(counts[row, layer]) ? 1 : counts[row, layer] + 1;
    }

    /// <summary>Writes the cosines between the clients' whole updates.</summary>
    private void WriteSimilarities(Utf8JsonWriter json)
    {
        if (_report.Similarities is not { Clients.Count: > 1 and <= LikenessOrder.MostItems } similarities)
            return;
        int count = similarities.Clients.Count;
        var cosines = new Matrix(count, count);
        for (int j = 0; j < count; j++)
        {
            for (int k = 0; k < count; k++)
                cosines[j, k] = (float)similarities[j, k];
        }

        json.WriteStartObject("similarities");
        Json.Names(json, "clients", similarities.Clients);
        Json.Numbers(json, "likeness", LikenessOrder.Of(count, (j, k) => 1 - cosines[j, k]));
        cosines.Write(json, "cosineValues");
        json.WriteEndObject();
    }

    private void WritePairs(Utf8JsonWriter json)
    {
        json.WriteStartArray("pairs");
        foreach (LoraPairReport pair in _report.LoraPairs)
        {
            json.WriteStartObject();
            json.WriteString("name", DisplayName.Full(pair.Name));
            Json.Number(json, "crossTerm", pair.CrossTerm);
            Json.Number(json, "rank", pair.Rank);
            Json.Number(json, "error", pair.RelativeError);
            Json.Number(json, "effectiveRank", pair.EffectiveRank);
            Json.Number(json, "overlapOfA", pair.OverlapOfA);
            Json.Number(json, "overlapOfB", pair.OverlapOfB);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private void WriteStages(Utf8JsonWriter json)
    {
        HashSet<string> chosen = [.. _report.Clients.Where(client => client.Chosen).Select(client => client.Id)];
        json.WriteStartArray("stages");
        foreach (StageReport stage in _report.Stages)
        {
            json.WriteStartObject();
            json.WriteString("name", DisplayName.Full($"{stage.Stage}: {stage.Name}"));
            json.WriteStartArray("values");
            foreach ((string id, double value) in stage.Clients.Zip(stage.Values))
            {
                json.WriteStartObject();
                json.WriteString("client", DisplayName.Full(id));
                Json.Number(json, "value", value);
                json.WriteBoolean("chosen", chosen.Contains(id));
                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }
}
