using FedICU.Compute;
using FedICU.TestChild;

namespace FedICU.Tests.Compute;

// Verbs that sum over the elements of groups.
public abstract unsafe partial class BackendContractTests
{
    [Test]
    public void AddSquaresIsWithinItsBound([Values] bool groupsAreColumns)
    {
        foreach ((Case c, PanelGeometry geometry) in Geometries(groupsAreColumns))
        {
            TensorPanel[] inputs = Inputs(c, c.Seed % 4 == 0 ? Spread.Wild : Spread.Tame);
            int groups = geometry.Groups, stride = groups + 3, depth = groupsAreColumns ? geometry.Rows : geometry.Columns / 8;
            double[] start = SamplePanels.Doubles(inputs.Length * stride, c.Random, Spread.Tame).Select(Math.Abs).ToArray();
            double[] expected = (double[])start.Clone();
            double* actual = _memory.Doubles(start, c.AtEnd);
            fixed (double* sums = expected)
                _reference.AddSquares(inputs, geometry, new GroupValues(sums, stride));
            _backend.AddSquares(inputs, geometry, new GroupValues(actual, stride));
            for (int i = 0; i < start.Length; i++)
            {
                bool between = i % stride >= groups;
                AssertClose(expected[i], actual[i], between ? 0 : (depth + 8) * Epsilon * expected[i], c);
            }

            AssertIntact(c);
        }
    }

    [Test]
    public void AddGramIsWithinItsBoundAndHasTheBitsOfAddSquares([Values] bool groupsAreColumns)
    {
        // besides the usual shapes, many rows of few columns, and more columns than any block
        (int Rows, int Columns)[] more = [(60, 16), (61, 33), (40, 700), (1, 5000), (2, 1500)];
        IEnumerable<(Case, PanelGeometry)> moreCases = more.Select((shape, i) => (
            new Case(shape.Rows * shape.Columns, 70_000 + i, Types[i % 4]),
            new PanelGeometry(shape.Rows, shape.Columns, groupsAreColumns)));
        foreach ((Case c, PanelGeometry geometry) in Geometries(groupsAreColumns).Concat(moreCases))
        {
            int count = 1 + c.Seed % (c.Seed % 8 == 0 || c.Seed >= 70_000 ? 13 : 5);
            TensorPanel[] inputs = Inputs(c, c.Seed % 4 == 0 ? Spread.Wild : Spread.Tame, count);
            int pairs = GramPairs.Count(inputs.Length), groups = geometry.Groups, stride = groups + c.Seed % 3;
            int depth = groupsAreColumns ? geometry.Rows : geometry.Columns / 8;
            double[] start = SamplePanels.Doubles((pairs - 1) * stride + groups, c.Random, Spread.Tame), expected = (double[])start.Clone();
            double* actual = _memory.Doubles(start, c.AtEnd), squares = _memory.Doubles(new double[inputs.Length * groups], c.AtEnd);
            fixed (double* grams = expected)
                _reference.AddGram(inputs, geometry, new GroupValues(grams, stride));
            _backend.AddGram(inputs, geometry, new GroupValues(actual, stride));
            double[] magnitudes = GramMagnitudes(inputs, geometry, start, stride);
            for (int i = 0; i < start.Length; i++)
                AssertClose(expected[i], actual[i], (depth + 8) * Epsilon * magnitudes[i], c);

            double* diagonal = _memory.Doubles(new double[pairs * groups], c.AtEnd);
            _backend.AddGram(inputs, geometry, new GroupValues(diagonal, groups));
            _backend.AddSquares(inputs, geometry, new GroupValues(squares, groups));
            for (int k = 0; k < inputs.Length; k++)
            {
                double* own = diagonal + GramPairs.Index(k, k) * groups;
                for (int g = 0; g < groups; g++)
                    Assert.That(Bits(own[g]), Is.EqualTo(Bits(squares[k * groups + g])), () => $"{c} {geometry}");
            }

            AssertIntact(c);
        }
    }

    /// <summary>
    /// Returns the magnitudes of each sum: of its start and of all products. Values between the rows of pairs are 0.
    /// </summary>
    private static double[] GramMagnitudes(TensorPanel[] inputs, PanelGeometry geometry, double[] start, int stride)
    {
        var magnitudes = new double[start.Length];
        double[][] values = [.. inputs.Select(input => Enumerable.Range(0, geometry.Length).Select(i => At(input, i)).ToArray())];
        for (int k = 0; k < inputs.Length; k++)
        {
            for (int j = 0; j <= k; j++)
            {
                int row = GramPairs.Index(j, k) * stride;
                for (int g = 0; g < geometry.Groups; g++)
                    magnitudes[row + g] = Math.Abs(start[row + g]);
                for (int i = 0; i < geometry.Length; i++)
                {
                    int group = geometry.GroupsAreColumns ? i % geometry.Columns : i / geometry.Columns;
                    magnitudes[row + group] += Math.Abs(values[j][i] * values[k][i]);
                }
            }
        }

        return magnitudes;
    }

    [Test]
    public void CombineHasTheBitsOfTheReferenceAndItsSquaresAreWithinTheirBound([Values] bool groupsAreColumns)
    {
        foreach ((Case c, PanelGeometry geometry) in Geometries(groupsAreColumns))
        {
            TensorPanel[] inputs = Inputs(c, c.Seed % 4 == 0 ? Spread.Extreme : Spread.Tame);
            int groups = geometry.Groups, stride = groups + c.Seed % 3, depth = groupsAreColumns ? geometry.Rows : geometry.Columns / 8;
            Spread spread = c.Seed % 4 == 0 ? Spread.Wild : Spread.Tame;
            double[] drawn = SamplePanels.Doubles((inputs.Length - 1) * stride + groups, c.Random, spread);
            double* coefficients = _memory.Doubles(drawn, c.AtEnd);
            var values = new GroupValues(coefficients, stride);
            double* scales = c.Seed % 2 == 0 ? null : _memory.Doubles(SamplePanels.Doubles(groups, c.Random, Spread.Tame), c.AtEnd);
            double[] start = SamplePanels.Doubles(groups, c.Random, Spread.Tame).Select(Math.Abs).ToArray();
            double[] expectedSquares = (double[])start.Clone();
            bool writes = c.Seed % 5 != 0, squares = c.Seed % 3 != 0;
            TensorPanel expected = writes ? Output(c) : default, actual = writes ? Output(c) : default;
            double* actualSquares = _memory.Doubles(start, c.AtEnd);
            long expectedCount, actualCount;
            fixed (double* sums = expectedSquares)
                expectedCount = _reference.Combine(inputs, geometry, values, scales, expected, squares ? sums : null);
            actualCount = _backend.Combine(inputs, geometry, values, scales, actual, squares ? actualSquares : null);
            if (writes)
                AssertSame(expected, actual, c);
            Assert.That(actualCount, Is.EqualTo(expectedCount), () => $"{c} {geometry}");
            for (int g = 0; g < groups; g++)
                AssertClose(expectedSquares[g], actualSquares[g], squares ? (depth + 8) * Epsilon * expectedSquares[g] : 0, c);
            AssertIntact(c);
        }
    }

    [Test]
    public void AddProjectionsIsWithinItsBound([Values] bool groupsAreColumns)
    {
        foreach ((Case c, PanelGeometry geometry) in Geometries(groupsAreColumns))
        {
            Spread spread = c.Seed % 4 == 0 ? Spread.Wild : Spread.Tame;
            TensorPanel[] inputs = Inputs(c, spread);
            int groups = geometry.Groups;
            // no infinite scale: an infinite scale times a sum of rows is infinite, but the sum of its products may be
            // NaN
            double[] drawn = SamplePanels.Doubles(inputs.Length * groups, c.Random, spread);
            double* a = _memory.Doubles([.. drawn.Select(value => double.IsInfinity(value) ? 1 : value)], c.AtEnd);
            double* b = _memory.Doubles(SamplePanels.Doubles(inputs.Length * groups, c.Random, spread), c.AtEnd);
            GroupValues scales = new(a, groups), coefficients = new(b, groups);
            double[] expected = SamplePanels.Doubles(inputs.Length, c.Random, Spread.Tame), actual = (double[])expected.Clone();
            double[] magnitudes = expected.Select(Math.Abs).ToArray();
            int blocks = (geometry.Columns + PanelGeometry.ProjectionBlock - 1) / PanelGeometry.ProjectionBlock;
            int depth = geometry.Rows * blocks + Math.Min(geometry.Columns, PanelGeometry.ProjectionBlock) / 8;
            AddProjectionMagnitudes(inputs, geometry, scales, coefficients, magnitudes);
            _reference.AddProjections(inputs, geometry, scales, coefficients, expected);
            _backend.AddProjections(inputs, geometry, scales, coefficients, actual);
            for (int k = 0; k < expected.Length; k++)
                AssertClose(expected[k], actual[k], (depth + 8) * Epsilon * magnitudes[k], c);
            AssertIntact(c);
        }
    }

    private static void AddProjectionMagnitudes(
        TensorPanel[] inputs, PanelGeometry geometry, GroupValues a, GroupValues b, double[] magnitudes)
    {
        for (int i = 0; i < geometry.Length; i++)
        {
            int group = geometry.GroupsAreColumns ? i % geometry.Columns : i / geometry.Columns;
            double t = 0;
            for (int k = 0; k < inputs.Length; k++)
                t = k == 0 ? b.Row(0)[group] * At(inputs[0], i) : Math.FusedMultiplyAdd(b.Row(k)[group], At(inputs[k], i), t);
            for (int k = 0; k < inputs.Length; k++)
                magnitudes[k] += Math.Abs(a.Row(k)[group] * (At(inputs[k], i) * t));
        }
    }
}
